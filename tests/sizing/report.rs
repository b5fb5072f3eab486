//! What was measured, as a table.

use std::io::{self, Write as _};

use serde::Serialize;

/// Bytes are of Redis's memory beyond what the caller gave; time is of Redis's processor.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Sizes {
    pub(crate) redis: String,
    /// An empty store.
    pub(crate) store_bytes: f64,
    /// By how many keys there were, those that are over and not swept among them.
    pub(crate) key_bytes: Vec<(u64, f64)>,
    /// Bytes of the event's record.
    pub(crate) record_bytes: u64,
    /// For each log entry, beyond its record.
    pub(crate) entry_bytes: f64,
    /// For each action that waits in a lane of its own, beyond its record.
    pub(crate) waiting_bytes: f64,
    /// For each of the same when it was delivered, beyond its record.
    pub(crate) delivered_bytes: f64,
    pub(crate) accept_micros: f64,
    pub(crate) plan_micros: f64,
    pub(crate) deliver_micros: f64,
}

pub(crate) fn print(sizes: &Sizes) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", sizes.redis)?;
    writeln!(out, "an empty store           {:>10.0} bytes", sizes.store_bytes)?;
    for (keys, bytes) in &sizes.key_bytes {
        writeln!(out, "a key, of {keys:>9}      {bytes:>10.1} bytes")?;
    }
    let record = sizes.record_bytes;
    writeln!(
        out,
        "a log entry              {:>10.1} bytes beyond its {record}",
        sizes.entry_bytes
    )?;
    writeln!(
        out,
        "an action that waits     {:>10.1} bytes beyond its record",
        sizes.waiting_bytes
    )?;
    writeln!(
        out,
        "a delivered action       {:>10.1} bytes beyond its record",
        sizes.delivered_bytes
    )?;
    writeln!(out, "accepting an event       {:>10.1} microseconds", sizes.accept_micros)?;
    writeln!(out, "planning an action       {:>10.1} microseconds", sizes.plan_micros)?;
    writeln!(out, "taking and settling one  {:>10.1} microseconds", sizes.deliver_micros)
}
