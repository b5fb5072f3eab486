//! What HTTP destinations of the benchmark post to. It answers after a while, 503 to some users on one
//! of its paths, and measures how old events are when they come.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use segment_source_tests::{
    endpoint::{Answer, Endpoint},
    wire::digits,
};

/// Where everybody is answered 200.
pub(crate) const STEADY: &str = "/steady";
/// Where every tenth user is answered 503, always.
pub(crate) const FAILING: &str = "/failing";

/// The sink; it ends when it is dropped.
pub(crate) struct Sink {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

struct Shared {
    /// Events say in microseconds since then when they were due.
    epoch: Instant,
    /// Microseconds from due to here, of those that were answered 200.
    delays: Mutex<Histogram<u64>>,
}

impl Sink {
    pub(crate) async fn start(epoch: Instant, after: Duration) -> anyhow::Result<Self> {
        let delays = Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3)?);
        let shared = Arc::new(Shared { epoch, delays });
        let state = shared.clone();
        let judge = move |head: &[u8], body: &[u8]| Answer { good: state.judge(head, body), after };
        Ok(Self { endpoint: Endpoint::start(Arc::new(judge)).await?, shared })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoint.address)
    }

    /// The delays since this was asked last.
    pub(crate) fn delays(&self) -> Histogram<u64> {
        let mut delays = self.shared.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = delays.clone();
        delays.reset();
        taken
    }
}

impl Shared {
    /// Whether it is answered 200.
    fn judge(&self, head: &[u8], body: &[u8]) -> bool {
        let user = digits(body, b"\"user-", 10).unwrap_or_default();
        if head.starts_with(format!("POST {FAILING} ").as_bytes()) && user.is_multiple_of(10) {
            return false;
        }
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(due) = digits(body, b"\"load-", 16) {
            let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
            delays.saturating_record(now.saturating_sub(due));
        }
        true
    }
}
