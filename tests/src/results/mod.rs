//! What the comparison with other systems has found: `docs/benchmarks/results.json`, which others rely
//! on, and what is made of it for people ([`page`], [`chart`]). Measuring is the binary `contest`.

pub mod chart;
pub mod page;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Where it was measured.
    pub machine: Machine,
    /// The day of the newest rows, such as `2026-03-02`.
    pub date: String,
    /// Each system, as durable as it can be made, with each scenario.
    pub rows: Vec<Row>,
}

/// Where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// All of them run the systems, the generator and the endpoint.
    pub cores: usize,
    /// In GiB.
    pub memory_gib: u64,
    /// Name and release of the system.
    pub kernel: String,
    /// Milliseconds of a synced write of 4 KiB where the systems have their data: median, p99.
    pub fsync_ms: [f64; 2],
}

/// What an answer has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It was synced before.
    Fsync,
    /// It is synced within about a second.
    Everysec,
}

impl Durability {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Everysec => "everysec",
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One event in ten is delivered.
    Mixed,
    /// Every event is delivered.
    Mapped,
}

impl Scenario {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Mapped => "mapped",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One system with one scenario. Times and counts are of a last load at `max_rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name; ours are `segment-source (embedded)` and `segment-source (redis)`.
    pub system: String,
    /// Of what it consists of.
    pub version: String,
    /// What its answers have behind them.
    pub durability: Durability,
    /// What was sent.
    pub scenario: Scenario,
    /// Requests a second: the highest rate of an open loop at which p99 was at most 50 ms, every
    /// status right, and everything delivered in time. 0: there was none.
    pub max_rate: u64,
    /// Milliseconds from when a request was due to its answer.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// Seconds of processor time for a million requests, until everything was delivered.
    pub cpu_s_per_million: f64,
    /// Memory of all its processes at the end of the load, in MiB: the sum of their proportional set
    /// sizes (`Pss`), in which a page that several share counts once.
    pub rss_mb: f64,
    /// Requests.
    pub sent: u64,
    /// Events that were answered with 2xx.
    pub acked: u64,
    /// Acked, to be delivered, and not delivered.
    pub lost: u64,
    /// Deliveries beyond the first of an event.
    pub duplicated: u64,
    /// Answers that should have been others.
    pub wrong_status: u64,
    /// Deliveries that are wrong: of other values than their event's, or of no event to be delivered.
    pub mislabelled: u64,
    /// The highest rate at which answers were in time and right, whatever became of the deliveries.
    pub ack_rate: u64,
    /// Deliveries a second, from the first request of the last load to the last delivery.
    pub delivered_rate: u64,
    /// Seconds from the last answer to the last delivery.
    pub drain_s: f64,
    /// Of all loads on the way there: lost, duplicated, mislabelled. Overload is among them.
    pub on_the_way: [u64; 3],
    /// `passed`, or what was wrong before speed was looked at.
    pub gate: String,
    /// What is particular about the system.
    pub note: String,
}

impl Row {
    /// A row of something that could not be measured.
    #[must_use]
    pub fn failed(system: &str, version: &str, durability: Durability, scenario: Scenario) -> Self {
        Self {
            system: system.to_owned(),
            version: version.to_owned(),
            durability,
            scenario,
            max_rate: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            p999_ms: 0.0,
            cpu_s_per_million: 0.0,
            rss_mb: 0.0,
            sent: 0,
            acked: 0,
            lost: 0,
            duplicated: 0,
            wrong_status: 0,
            mislabelled: 0,
            ack_rate: 0,
            delivered_rate: 0,
            drain_s: 0.0,
            on_the_way: [0; 3],
            gate: String::new(),
            note: String::new(),
        }
    }

    /// Whether it is one of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.system.starts_with("segment-source ")
    }

    /// What is wrong with it, in a few words; nothing when it did its job.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        let mut wrong = Vec::new();
        if self.gate != "passed" {
            wrong.push(self.gate.clone());
        }
        if self.max_rate == 0 && self.gate == "passed" {
            wrong.push("no rate was held".to_owned());
        }
        let counted = [
            (self.lost, "lost"),
            (self.duplicated, "delivered twice"),
            (self.mislabelled, "mislabelled"),
            (self.wrong_status, "answered wrong"),
        ];
        wrong.extend(
            counted.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")),
        );
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}

/// The rows of one durability and scenario, in the order in which they are shown.
#[must_use]
pub fn group(results: &Results, durability: Durability, scenario: Scenario) -> Vec<&Row> {
    let here = |row: &&Row| row.durability == durability && row.scenario == scenario;
    let mut rows: Vec<_> = results.rows.iter().filter(here).collect();
    rows.sort_by(|a, b| b.max_rate.cmp(&a.max_rate).then(a.system.cmp(&b.system)));
    rows
}

/// Ours against the best of the others in one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Our row's system.
    pub ours: String,
    /// Whose highest rate is the highest of the others that did their job.
    pub fastest: String,
    /// Our highest rate, as a multiple of that one's.
    pub rate: f64,
    /// Who takes the least processor time.
    pub leanest: String,
    /// That processor time, as a multiple of ours.
    pub cpu: f64,
}

/// Ours against the others of the same class. Those that did not do their job are no measure.
#[must_use]
pub fn ratios(results: &Results, durability: Durability, scenario: Scenario) -> Vec<Ratio> {
    let rows = group(results, durability, scenario);
    let others =
        || rows.iter().filter(|row| !row.is_ours() && row.max_rate > 0 && row.mark().is_none());
    let Some(fastest) = others().max_by_key(|row| row.max_rate) else { return Vec::new() };
    let by_cpu = |a: &&&Row, b: &&&Row| a.cpu_s_per_million.total_cmp(&b.cpu_s_per_million);
    let leanest = others().min_by(by_cpu).unwrap_or(fastest);
    let ours = rows.iter().filter(|row| row.is_ours() && row.max_rate > 0);
    ours.map(|row| Ratio {
        ours: row.system.clone(),
        fastest: fastest.system.clone(),
        rate: row.max_rate as f64 / fastest.max_rate as f64,
        leanest: leanest.system.clone(),
        cpu: leanest.cpu_s_per_million / row.cpu_s_per_million,
    })
    .collect()
}
