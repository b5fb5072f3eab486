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
    /// So many sources in turn, called as [`Load::name`] says; `None`: just that one.
    pub(crate) sources: Option<u32>,
    /// Events of each request.
    pub(crate) batch: u32,
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

impl Load {
    /// What one of many sources is called.
    pub(crate) fn name(source: &str, number: u32) -> String {
        format!("{source}-{number:05}")
    }

    /// Requests of one connection, which are sent in turn. No two connections have the same source, unless
    /// there are more of them than sources.
    fn templates(&self, run: u64, connection: u32) -> anyhow::Result<Vec<Template>> {
        let Load { source, size, users, batch, .. } = *self;
        let template = |name: &str| Template::new(name, size, run, users, batch);
        match self.sources {
            None => Ok(vec![template(source)?]),
            Some(sources) => (connection..sources.max(connection + 1))
                .step_by(self.connections as usize)
                .map(|number| template(&Self::name(source, number % sources)))
                .collect(),
        }
    }
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

    /// An answer for so many events.
    pub(crate) fn record(&mut self, since: Instant, good: bool, events: u32) {
        if good {
            self.count += u64::from(events);
        } else {
            self.errors += u64::from(events);
        }
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
    let mut clients = Vec::new();
    for connection in 0..load.connections {
        let templates = load.templates(u64::from_be_bytes(run), connection)?;
        clients.push((Client::connect(load.address).await?, templates));
    }
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let end = start + Duration::from_secs(load.seconds);
    let mut tasks = JoinSet::new();
    let mut due = Vec::new();
    for (client, templates) in clients {
        let next = next.clone();
        if load.rate.is_some() {
            let (sender, receiver) = mpsc::unbounded_channel();
            due.push(sender);
            tasks.spawn(open(client, templates, next, receiver, load));
        } else {
            tasks.spawn(closed(client, templates, next, end, load));
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
    mut templates: Vec<Template>,
    next: Arc<AtomicU64>,
    end: Instant,
    load: Load,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    for turn in (0..templates.len()).cycle() {
        let sent = Instant::now();
        let n = next.fetch_add(1, Ordering::Relaxed);
        if sent >= end || n >= load.most {
            break;
        }
        let request = templates[turn].event(n);
        let good = client.accepted(request, load.batch).await?;
        measured.record(sent, good, load.batch);
    }
    Ok(measured)
}

async fn open(
    mut client: Client,
    mut templates: Vec<Template>,
    next: Arc<AtomicU64>,
    mut due: mpsc::UnboundedReceiver<Instant>,
    load: Load,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    let mut turns = (0..templates.len()).cycle();
    while let (Some(intended), Some(turn)) = (due.recv().await, turns.next()) {
        let micros = u64::try_from((intended - load.epoch).as_micros()).unwrap_or(u64::MAX);
        let n = next.fetch_add(1, Ordering::Relaxed);
        let request = templates[turn].event_due(n, micros);
        let good = client.accepted(request, load.batch).await?;
        measured.record(intended, good, load.batch);
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
