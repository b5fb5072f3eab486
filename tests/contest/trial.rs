//! One load on a system that runs, and everything that is known of it afterwards.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use segment_source_tests::{process::cpu_micros, results::Scenario};

use crate::{
    event::{Events, Mix},
    generate,
    ledger::{Counts, Ledger},
    peer::{Delivery, Running},
    sink::Sink,
};

/// The slowest answer of 99 in 100, in milliseconds.
pub(crate) const P99_MS: f64 = 50.0;
/// Shorter than this no drain is given up: a refused delivery is tried again after seconds.
const LEAST_DRAIN: Duration = Duration::from_secs(6);
/// Repeats that come later than the drain are waited for so long.
const LATE: Duration = Duration::from_millis(300);

/// A load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) mix: Mix,
    /// Requests a second; `None`: as many as are answered.
    pub(crate) rate: Option<f64>,
    pub(crate) time: Duration,
}

/// What became of it.
pub(crate) struct Trial {
    pub(crate) latency: Histogram<u64>,
    pub(crate) counts: Counts,
    broken: u64,
    /// Fewer were sent than were due.
    gave_up: bool,
    /// Requests a second that were sent; without a rate, each once the one before it was answered.
    pub(crate) reached: f64,
    /// How long after the load everything was delivered.
    pub(crate) drain: Option<Duration>,
    /// Deliveries a second.
    pub(crate) delivered_rate: f64,
    /// Of the system, in seconds.
    pub(crate) cpu: f64,
    /// Of generator and endpoint, in seconds.
    pub(crate) own_cpu: f64,
    /// Bytes at the end of the load.
    pub(crate) memory: u64,
    pub(crate) ledger: Ledger,
}

impl Trial {
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Whether answers came in time and were right.
    pub(crate) fn answered(&self) -> bool {
        self.broken == 0
            && !self.gave_up
            && self.counts.wrong_status == 0
            && self.ms(0.99) <= P99_MS
    }

    /// Whether deliveries kept up as well.
    pub(crate) fn held(&self) -> bool {
        self.answered() && self.drain.is_some()
    }

    /// Whether it was not held only because the answers took too long, and not by much.
    pub(crate) fn is_near(&self) -> bool {
        self.broken == 0
            && !self.gave_up
            && self.drain.is_some()
            && self.counts.wrong_status == 0
            && self.ms(0.99) < 4.0 * P99_MS
    }

    /// In a few words.
    pub(crate) fn summary(&self) -> String {
        let mut words = format!("p99 {:.1} ms", self.ms(0.99));
        if self.gave_up {
            words += ", fell behind";
        }
        for (count, what) in
            [(self.broken, "without an answer"), (self.counts.wrong_status, "wrong")]
        {
            if count > 0 {
                words += &format!(", {count} {what}");
            }
        }
        match self.drain {
            Some(drain) => words += &format!(", delivered {:.1} s later", drain.as_secs_f64()),
            None => words += &format!(", {} not delivered in time", self.counts.lost),
        }
        words
    }
}

/// Runs loads, one after the other, on one start of a system.
pub(crate) struct Bench<'a> {
    pub(crate) running: Running,
    pub(crate) events: Events,
    pub(crate) sink: &'a Sink,
    pub(crate) delivery: &'a Delivery,
    /// The first number of an event that was not used.
    pub(crate) next: u64,
}

impl Bench<'_> {
    pub(crate) fn run(&mut self, load: Load) -> anyhow::Result<Trial> {
        let seconds = load.time.as_secs_f64();
        // Without a rate: more than anybody answers.
        let count = (load.rate.unwrap_or(60_000.0) * seconds).ceil().max(1.0) as u64;
        // A repeat comes half a second later, as one does who got no answer.
        let back = (load.rate.unwrap_or(400.0) / 2.0).ceil() as u64;
        let mut slots = self.events.plan(&load.mix, self.next, count, back);
        self.next += count;
        self.sink.refuse(load.mix);
        let (session, own) = (self.running.session, std::process::id());
        let (cpu, own_cpu, begun) = (session.cpu_seconds(), cpu_micros(own), Instant::now());
        let sent = generate::run(
            self.running.address,
            &mut self.events,
            &mut slots,
            load.rate,
            load.time,
        )?;
        let end = Instant::now();
        let memory = session.memory();
        let ledger = Ledger::new(slots);
        let drain = ledger.drained(self.sink, end, (load.time * 2).max(LEAST_DRAIN));
        let spent = session.cpu_seconds() - cpu;
        let own_cpu = (cpu_micros(own) - own_cpu) as f64 / 1e6;
        std::thread::sleep(LATE);
        let mut trial = Trial {
            latency: sent.latency,
            counts: Counts::default(),
            broken: sent.broken,
            gave_up: load.rate.is_some() && (sent.count as u64) < count,
            reached: sent.count as f64 / sent.took.as_secs_f64().max(1e-3),
            drain,
            delivered_rate: 0.0,
            cpu: spent,
            own_cpu,
            memory,
            ledger,
        };
        let last = self.sink.received().last;
        let delivered = trial.ledger.delivered(&self.sink.received());
        let took = last.saturating_duration_since(begun).as_secs_f64().max(seconds);
        trial.delivered_rate = delivered as f64 / took;
        self.judge(&mut trial)?;
        Ok(trial)
    }

    /// Looks again at what was delivered.
    pub(crate) fn judge(&mut self, trial: &mut Trial) -> anyhow::Result<()> {
        trial.ledger.judge(self.sink, &mut self.events, self.delivery)?;
        trial.counts = trial.ledger.counts(&self.sink.received());
        Ok(())
    }

    /// Waits longer for what was not delivered in time; whether it was.
    pub(crate) fn settle(&mut self, trial: &mut Trial, at_most: Duration) -> anyhow::Result<bool> {
        let settled = trial.ledger.drained(self.sink, Instant::now(), at_most).is_some();
        self.judge(trial)?;
        Ok(settled)
    }
}

/// What is sent in a scenario.
pub(crate) fn mix(scenario: Scenario) -> Mix {
    let (identifies, orders) = match scenario {
        Scenario::Mixed => (1, 1),
        Scenario::Mapped => (10, 10),
    };
    Mix { identifies, orders, bad: 10, repeats: 6, refused: 10 }
}
