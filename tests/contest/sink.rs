//! The endpoint that everybody delivers to. It runs on a thread of its own, answers after 5 ms, refuses
//! some first attempts, and keeps what came; what that means is judged afterwards, in [`crate::ledger`].

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use segment_source_tests::{
    endpoint::{Answer, Endpoint},
    wire::after,
};

use crate::event::{MARK, Mix};

const ANSWERS_AFTER: Duration = Duration::from_millis(5);
/// More events than any run has. A number beyond is of no event that is delivered, and must not become
/// the length of what counts deliveries.
const EVENTS: u64 = 1 << 28;

/// The endpoint; it runs until the process ends.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// What came of one run.
pub(crate) struct Received {
    run: u64,
    mix: Option<Mix>,
    /// By number of the event: how often it came.
    attempts: Vec<u8>,
    /// By number of the event: how often it was taken.
    taken: Vec<u8>,
    /// Bodies that were taken, and not judged yet.
    pub(crate) bodies: Vec<(u64, Box<[u8]>)>,
    /// What is about no event.
    pub(crate) unreadable: u64,
    /// When the last one was taken.
    pub(crate) last: Instant,
}

impl Received {
    /// How often an event was taken.
    pub(crate) fn taken(&self, event: u64) -> u8 {
        usize::try_from(event).ok().and_then(|at| self.taken.get(at).copied()).unwrap_or_default()
    }

    /// How often an event came.
    pub(crate) fn attempts(&self, event: u64) -> u8 {
        let at = usize::try_from(event).ok();
        at.and_then(|at| self.attempts.get(at).copied()).unwrap_or_default()
    }

    fn judge(&mut self, body: &[u8]) -> Answer {
        let Some((run, event)) = event_of(body).filter(|(_, event)| *event < EVENTS) else {
            self.unreadable += 1;
            return Answer { good: true, after: ANSWERS_AFTER };
        };
        if run != self.run {
            // Of a program that was ended meanwhile.
            return Answer { good: true, after: ANSWERS_AFTER };
        }
        let at = event as usize;
        if at >= self.taken.len() {
            self.taken.resize(at + 4096, 0);
            self.attempts.resize(at + 4096, 0);
        }
        self.attempts[at] = self.attempts[at].saturating_add(1);
        if self.attempts[at] == 1 && self.mix.is_some_and(|mix| mix.is_refused(event)) {
            return Answer { good: false, after: Duration::ZERO };
        }
        self.taken[at] = self.taken[at].saturating_add(1);
        self.bodies.push((event, body.into()));
        self.last = Instant::now();
        Answer { good: true, after: ANSWERS_AFTER }
    }
}

/// Run and number of the event in a body, wherever they stand.
fn event_of(body: &[u8]) -> Option<(u64, u64)> {
    let at = after(body, MARK)?;
    let number = |from: usize| {
        let digits = std::str::from_utf8(body.get(from..from + 16)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    Some((number(at)?, number(at + 17)?))
}

impl Sink {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let received = Arc::new(Mutex::new(Received {
            run: 0,
            mix: None,
            attempts: Vec::new(),
            taken: Vec::new(),
            bodies: Vec::new(),
            unreadable: 0,
            last: Instant::now(),
        }));
        let state = received.clone();
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("sink".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let judge = move |_: &[u8], body: &[u8]| lock(&state).judge(body);
                let endpoint = Endpoint::start(Arc::new(judge)).await?;
                _ = tell.send(endpoint.address);
                std::future::pending::<anyhow::Result<()>>().await
            })
        })?;
        Ok(Self { address: told.recv()?, received })
    }

    /// Begins a run: what comes of others is not counted.
    pub(crate) fn begin(&self, run: u64) {
        let mut received = self.received();
        received.run = run;
        received.attempts.clear();
        received.taken.clear();
        received.bodies.clear();
        received.unreadable = 0;
    }

    /// Which first attempts are refused from now on.
    pub(crate) fn refuse(&self, mix: Mix) {
        self.received().mix = Some(mix);
    }

    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        lock(&self.received)
    }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
