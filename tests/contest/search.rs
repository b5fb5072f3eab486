//! Finds the highest rate that a system holds, and measures it there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use segment_source_tests::results::{Durability, Row, Scenario};

use crate::{
    event::Events,
    gate,
    ledger::Counts,
    peer::Peer,
    say,
    sink::Sink,
    trial::{Bench, Load, Trial, mix},
};

/// The secret of all systems; made up.
const SECRET: &str = "not-a-real-secret-of-the-contest";

/// How often in a search a rate that was nearly held is tried once more.
const AGAIN: u32 = 2;
/// How often it is tried to measure what was found.
const MEASURED: u32 = 12;
/// After so long no load of a search begins, even if nothing is held yet.
const LONGEST: Duration = Duration::from_secs(120);
/// Slower than this nothing is tried.
const SLOWEST: f64 = 5.0;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// As many as are answered, to know where to begin.
    probe: Duration,
    step: Duration,
    /// Loads of a search, and how long it takes at most; more only as long as nothing is held.
    steps: u32,
    search: Duration,
    last: Duration,
}

impl Pace {
    pub(crate) const FULL: Self = Self {
        probe: Duration::from_secs(2),
        step: Duration::from_secs(3),
        steps: 9,
        search: Duration::from_secs(50),
        last: Duration::from_secs(6),
    };
    pub(crate) const QUICK: Self = Self {
        probe: Duration::from_secs(1),
        step: Duration::from_secs(1),
        steps: 4,
        search: Duration::from_secs(15),
        last: Duration::from_secs(2),
    };
}

/// Where the search stands.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The highest rate that was held; 0: none yet.
    held: f64,
    /// The lowest rate that was not.
    lost: f64,
    /// The rate whose deliveries would have been in time in the last load in which they were not.
    delivered: f64,
}

/// Rates that are as near as this are the same.
const NEAR: f64 = 1.06;

impl Bounds {
    /// The next rate to try; none when it is known well enough.
    fn next(self, first: f64) -> Option<f64> {
        match (self.held > 0.0, self.lost.is_finite()) {
            (false, false) => Some(first),
            (true, false) => Some(self.held * 1.3),
            (false, true) => Some(self.down(first)).filter(|rate| *rate >= SLOWEST),
            (true, true) => {
                Some((self.held * self.lost).sqrt()).filter(|_| self.lost / self.held > NEAR)
            }
        }
    }

    /// A rate that may be held when nothing is: faster down from the second time on, and at once to what
    /// was delivered, though a stall must not lead too far.
    fn down(self, first: f64) -> f64 {
        let step = if self.lost < first { 2.0 } else { 1.5 };
        (self.lost / step).min((self.delivered * 0.9).max(self.lost / 8.0))
    }
}

/// A system with a durability and a scenario, while it is measured.
pub(crate) struct Case<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) durability: Durability,
    pub(crate) scenario: Scenario,
    pub(crate) pace: Pace,
    pub(crate) sink: &'a Sink,
    pub(crate) folder: &'a Path,
}

impl Case<'_> {
    /// Measures it. Whatever goes wrong is in the row.
    pub(crate) fn measure(&self) -> Row {
        let versions = self.peer.versions.iter().map(|(name, version)| format!("{name} {version}"));
        let version = versions.collect::<Vec<_>>().join(", ");
        let mut row = Row::failed(&self.peer.system, &version, self.durability, self.scenario);
        row.note.clone_from(&self.peer.note);
        if let Err(error) = self.fill(&mut row) {
            say(&format!("  failed: {error:#}"));
            let first = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
            row.gate = format!("could not be measured: {first}");
        }
        row
    }

    fn start(&self) -> anyhow::Result<Bench<'_>> {
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let mut events = Events::new(&self.peer.path, SECRET, u64::from_be_bytes(run))?;
        self.sink.begin(events.run);
        let sink = self.sink.address;
        let running = self.peer.start(self.folder, self.durability, sink, SECRET, &mut events)?;
        Ok(Bench { running, events, sink: self.sink, delivery: &self.peer.delivery, next: 0 })
    }

    fn fill(&self, row: &mut Row) -> anyhow::Result<()> {
        let mut bench = self.start()?;
        row.gate = gate::check(&mut bench)?;
        say(&format!("  gate: {}", row.gate));
        let mut way = Counts::default();
        let mut bounds = Bounds { held: 0.0, lost: f64::INFINITY, delivered: f64::INFINITY };
        let mut acked = 0.0_f64;
        let probe = Load { mix: mix(self.scenario), rate: None, time: self.pace.probe };
        let probed = self.load(&mut bench, probe, &mut way)?;
        say(&format!(
            "  as fast as it answers: {:.0}/s ({:.1} µs of generator and endpoint for each)",
            probed.reached,
            probed.own_cpu / probed.counts.sent.max(1) as f64 * 1e6
        ));
        let first = (probed.reached * 0.8).max(SLOWEST);
        let (begun, mut step, mut again) = (Instant::now(), 0, AGAIN);
        while let Some(rate) = bounds.next(first) {
            let enough = step >= self.pace.steps || begun.elapsed() > self.pace.search;
            if enough && bounds.held > 0.0 || begun.elapsed() > LONGEST {
                break;
            }
            step += 1;
            let load = Load { rate: Some(rate), time: self.pace.step, ..probe };
            let trial = self.load(&mut bench, load, &mut way)?;
            say(&format!("  {rate:.0}/s: {}", trial.summary()));
            if trial.answered() {
                acked = acked.max(rate);
            }
            if trial.held() {
                bounds.held = rate;
            } else if again > 0 && trial.is_near() {
                // Something else of the machine's may have come between.
                again -= 1;
            } else {
                bounds.lost = rate;
                bounds.delivered = match trial.drain {
                    Some(_) => f64::INFINITY,
                    None => trial.delivered_rate / trial.counts.due_share(),
                };
            }
        }
        let mut rate = bounds.held;
        for _ in 0..MEASURED {
            if rate < 1.0 {
                break;
            }
            let load = Load { rate: Some(rate), time: self.pace.last, ..probe };
            let trial = self.load(&mut bench, load, &mut way)?;
            say(&format!("  {rate:.0}/s, measured: {}", trial.summary()));
            if trial.held() {
                write(row, rate, &trial);
                break;
            }
            if again > 0 && trial.is_near() {
                again -= 1;
            } else {
                rate *= 0.88;
            }
        }
        row.ack_rate = acked.max(row.max_rate as f64).round() as u64;
        row.on_the_way = [way.lost, way.duplicated, way.mislabelled];
        Ok(())
    }

    /// One load. What it left undelivered is waited for, and if that does not help the system is started
    /// afresh, so that the next load does not pay for it.
    fn load<'a>(
        &'a self,
        bench: &mut Bench<'a>,
        load: Load,
        way: &mut Counts,
    ) -> anyhow::Result<Trial> {
        let mut trial = bench.run(load)?;
        let settled = trial.drain.is_some() || bench.settle(&mut trial, self.pace.step * 4)?;
        way.add(&trial.counts);
        if !settled || !bench.running.is_running() {
            if !bench.running.is_running() {
                say(&format!("  it has ended:\n{}", bench.running.log()));
            }
            say("  starting it afresh");
            // The old one goes first: both would have the same folder.
            bench.running.end();
            *bench = self.start()?;
        }
        Ok(trial)
    }
}

fn write(row: &mut Row, rate: f64, trial: &Trial) {
    let sent = trial.counts.sent.max(1) as f64;
    let hundredths = |value: f64| (value * 100.0).round() / 100.0;
    row.max_rate = rate.round() as u64;
    row.p50_ms = hundredths(trial.ms(0.5));
    row.p99_ms = hundredths(trial.ms(0.99));
    row.p999_ms = hundredths(trial.ms(0.999));
    row.cpu_s_per_million = hundredths(trial.cpu / sent * 1e6);
    row.rss_mb = hundredths(trial.memory as f64 / f64::from(1 << 20));
    row.sent = trial.counts.sent;
    row.acked = trial.counts.acked;
    row.lost = trial.counts.lost;
    row.duplicated = trial.counts.duplicated;
    row.wrong_status = trial.counts.wrong_status;
    row.mislabelled = trial.counts.mislabelled;
    row.delivered_rate = trial.delivered_rate.round() as u64;
    row.drain_s = hundredths(trial.drain.unwrap_or_default().as_secs_f64());
    say(&format!(
        "  {:.0} CPU-s and {:.0} of generator and endpoint for a million, {:.0} MiB",
        row.cpu_s_per_million,
        trial.own_cpu / sent * 1e6,
        row.rss_mb
    ));
}
