//! What HTTP destinations of the benchmark post to: as little HTTP/1.1 as keeps connections open.
//! It answers after a while, 503 to some users on one of its paths, and measures how old events are
//! when they come. One that breaks the rules of HTTP is `segment_source_tests::sink`'s.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// Where everybody is answered 200.
pub(crate) const STEADY: &str = "/steady";
/// Where every tenth user is answered 503, always.
pub(crate) const FAILING: &str = "/failing";

/// The sink; it ends when it is dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    /// Events say in microseconds since then when they were due.
    epoch: Instant,
    answers_after: Duration,
    /// Microseconds from due to here, of those that were answered 200.
    delays: Mutex<Histogram<u64>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Sink {
    pub(crate) async fn start(epoch: Instant, answers_after: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let delays = Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3)?);
        let shared = Arc::new(Shared { epoch, answers_after, delays });
        let state = shared.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                // A client that goes away is no failure of the sink.
                tokio::spawn(async move { _ = requests(stream, &state).await });
            }
        });
        Ok(Self { address, shared, serving })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The delays since this was asked last.
    pub(crate) fn delays(&self) -> Histogram<u64> {
        let mut delays = self.shared.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = delays.clone();
        delays.reset();
        taken
    }
}

async fn requests(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 16 << 10], 0);
    loop {
        let (head, length) = loop {
            if let Some(found) = whole(&buffer[..filled])? {
                break found;
            }
            anyhow::ensure!(filled < buffer.len(), "a request is too large");
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let good = shared.judge(&buffer[..head], &buffer[head..length]);
        sleep(shared.answers_after).await;
        let reply: &[u8] = match good {
            true => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            false => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        };
        stream.write_all(reply).await?;
        buffer.copy_within(length..filled, 0);
        filled -= length;
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

/// Where the body begins and ends, when all of it is there.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(head) = after(bytes, b"\r\n\r\n") else { return Ok(None) };
    let length = after(&bytes[..head], b"content-length: ");
    let length = length.and_then(|at| number(&bytes[at..head], 10));
    let length = length.ok_or_else(|| anyhow::anyhow!("a request has no length"))?;
    let end = head + usize::try_from(length)?;
    Ok((bytes.len() >= end).then_some((head, end)))
}

fn after(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some(at + mark.len())
}

/// The number that stands behind a mark.
fn digits(bytes: &[u8], mark: &[u8], base: u32) -> Option<u64> {
    number(&bytes[after(bytes, mark)?..], base)
}

fn number(bytes: &[u8], base: u32) -> Option<u64> {
    let end = bytes.iter().position(|byte| !char::from(*byte).is_digit(base))?;
    u64::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, base).ok()
}
