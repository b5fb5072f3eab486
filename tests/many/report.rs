//! What was measured, as a table and as JSON, and what of it misses what was promised.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use serde::Serialize;

use crate::requests::Asked;

/// A change is served by all replicas so soon after the watch event, in 99 of 100 cases.
const PROMISED_MILLIS: f64 = 100.0;

/// With one number of sources. Times are seconds since the operator's start, memory is in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) sources: usize,
    pub(crate) synced: f64,
    pub(crate) ready: f64,
    /// Until then.
    pub(crate) start: Asked,
    pub(crate) steady: Asked,
    /// Now and at most, of the operator and of a replica.
    pub(crate) memory: [(u64, u64); 2],
    /// Of specs and of Secrets; none without sources.
    pub(crate) changes: Option<[Latency; 2]>,
    /// The same after the operator was ended and started again.
    pub(crate) restart_synced: f64,
    pub(crate) restart_ready: f64,
    pub(crate) restart: Asked,
}

/// From the watch event until every replica serves a change, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    count: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latency {
    pub(crate) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: f64| {
            let rank = (all.len() as f64 * part).ceil() as usize;
            all.get(rank.saturating_sub(1)).map_or(0.0, |it| it.as_secs_f64() * 1000.0)
        };
        Self { count: all.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl Step {
    /// What misses what was promised, for people.
    pub(crate) fn missed(&self) -> Vec<String> {
        let slow = self.changes.iter().flatten().any(|it| it.p99 >= PROMISED_MILLIS);
        let all = [
            (slow, format!("a change takes {PROMISED_MILLIS} ms or more in 1 of 100 cases")),
            (self.steady.writes > 0, format!("{} steady writes", self.steady.writes)),
            (self.restart.writes > 0, format!("{} writes after a restart", self.restart.writes)),
        ];
        let missed = all.into_iter().filter(|(missed, _)| *missed);
        missed.map(|(_, what)| format!("{what} with {} sources", self.sources)).collect()
    }

    fn cells(&self) -> Vec<(&'static str, String)> {
        let seconds = |it: f64| format!("{it:.1}");
        let mib = |(now, most): (u64, u64)| format!("{} / {}", now >> 20, most >> 20);
        let change = |at: usize| {
            let took = self.changes.as_ref().map(|it| &it[at]);
            took.map_or("-".into(), |it| format!("{:.0} / {:.0} / {:.0}", it.p50, it.p99, it.max))
        };
        vec![
            ("SegmentSources", self.sources.to_string()),
            ("Start: every replica synced, s", seconds(self.synced)),
            ("Start: every source Ready, s", seconds(self.ready)),
            ("Start: requests at the API server", self.start.total.to_string()),
            ("Start: requests per second", format!("{:.0}", self.start.per_second)),
            ("Steady: requests per second", format!("{:.2}", self.steady.per_second)),
            ("Steady: writes, without Leases", self.steady.writes.to_string()),
            ("Steady: operator, MiB now / most", mib(self.memory[0])),
            ("Steady: replica, MiB now / most", mib(self.memory[1])),
            ("Spec changed: served, ms p50 / p99 / max", change(0)),
            ("Secret changed: served, ms p50 / p99 / max", change(1)),
            ("Operator restarted: synced, s", seconds(self.restart_synced)),
            ("Operator restarted: every source Ready, s", seconds(self.restart_ready)),
            ("Operator restarted: writes, without Leases", self.restart.writes.to_string()),
        ]
    }
}

/// One column for each step.
pub(crate) fn print(steps: &[Step]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let columns: Vec<_> = steps.iter().map(Step::cells).collect();
    for (row, (name, _)) in columns.first().into_iter().flatten().enumerate() {
        let cells: String = columns.iter().map(|it| format!(" {:>14} |", it[row].1)).collect();
        writeln!(out, "| {name:<42} |{cells}")?;
        if row == 0 {
            writeln!(out, "|{:-<44}|{}", "", "---------------:|".repeat(columns.len()))?;
        }
    }
    Ok(())
}
