//! The two kinds of load. Closed loop: every connection sends the next event when it has the answer
//! to the one before; it finds what the server can do at the most. Open loop: events are due at
//! fixed times whether or not the server keeps up, and latency counts from then, so that queueing
//! is seen.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{client::Client, event::Template};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) source: &'static str,
    pub(crate) connections: u32,
    pub(crate) seconds: u64,
    pub(crate) size: usize,
    /// Events per second of an open loop; `None`: closed loop.
    pub(crate) rate: Option<u64>,
    /// Different users.
    pub(crate) users: u64,
    /// A closed loop ends when so many events were sent.
    pub(crate) most: u64,
    /// In an open loop messageIds tell in microseconds since then when their events were due.
    pub(crate) epoch: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) elapsed: Duration,
    /// Microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Measured {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            count: 0,
            errors: 0,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 600_000_000, 3)?,
        })
    }

    pub(crate) fn record(&mut self, since: Instant, good: bool) {
        self.count += u64::from(good);
        self.errors += u64::from(!good);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.count += other.count;
        self.errors += other.errors;
        self.latency.add(&other.latency)?;
        Ok(())
    }
}

/// Runs it to its end.
pub(crate) async fn run(load: Load) -> anyhow::Result<Measured> {
    let mut run = [0; 8];
    getrandom::fill(&mut run).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let template = Template::new(load.source, load.size, u64::from_be_bytes(run), load.users)?;
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(Client::connect(load.address).await?);
    }
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let end = start + Duration::from_secs(load.seconds);
    let mut tasks = JoinSet::new();
    let mut due = Vec::new();
    for client in clients {
        let (template, next) = (template.clone(), next.clone());
        if load.rate.is_some() {
            let (sender, receiver) = mpsc::unbounded_channel();
            due.push(sender);
            tasks.spawn(open(client, template, next, receiver, load.epoch));
        } else {
            tasks.spawn(closed(client, template, next, end, load.most));
        }
    }
    // Timers of the runtime tick in milliseconds, which is coarser than what is measured.
    let pacer = load.rate.map(|rate| thread::spawn(move || pace(rate, start, end, &due)));
    let mut all = Measured::new()?;
    while let Some(one) = tasks.join_next().await {
        all.add(&one??)?;
    }
    all.elapsed = start.elapsed();
    if let Some(pacer) = pacer {
        pacer.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
    }
    Ok(all)
}

async fn closed(
    mut client: Client,
    mut template: Template,
    next: Arc<AtomicU64>,
    end: Instant,
    most: u64,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    loop {
        let sent = Instant::now();
        let n = next.fetch_add(1, Ordering::Relaxed);
        if sent >= end || n >= most {
            return Ok(measured);
        }
        let request = template.event(n);
        let good = client.accepted(request).await?;
        measured.record(sent, good);
    }
}

async fn open(
    mut client: Client,
    mut template: Template,
    next: Arc<AtomicU64>,
    mut due: mpsc::UnboundedReceiver<Instant>,
    epoch: Instant,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    while let Some(intended) = due.recv().await {
        let micros = u64::try_from((intended - epoch).as_micros()).unwrap_or(u64::MAX);
        let request = template.event_due(next.fetch_add(1, Ordering::Relaxed), micros);
        let good = client.accepted(request).await?;
        measured.record(intended, good);
    }
    Ok(measured)
}

/// Hands out what is due, in turn to every connection, until the end.
fn pace(rate: u64, start: Instant, end: Instant, due: &[mpsc::UnboundedSender<Instant>]) {
    let at = |n: u64| start + Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate);
    let mut n = 0;
    while at(n) < end {
        while at(n) <= Instant::now() && at(n) < end {
            // Whoever is gone has failed, and says so itself.
            let turn = usize::try_from(n).unwrap_or_default() % due.len();
            _ = due[turn].send(at(n));
            n += 1;
        }
        thread::sleep(Duration::from_micros(100));
    }
}
