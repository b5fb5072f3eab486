//! Who may hold the Lease, decided without IO from what it says and when it was seen to change.
//! No clock of another machine is believed: a Lease has run out when nobody changed it for as long
//! as it says, by our own monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `None` when it does not exist.
    pub(super) version: Option<String>,
    /// `None` when it was given back.
    pub(super) holder: Option<String>,
    /// How often it was taken: the epoch.
    pub(super) transitions: u64,
    pub(super) duration: Duration,
    pub(super) acquired: Option<jiff::Timestamp>,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write this, to take it or to go on holding it.
    Hold(Record),
    /// Someone else holds it.
    Wait,
}

/// One candidate.
#[derive(Debug)]
pub(super) struct Elector {
    holder: String,
    duration: Duration,
    /// What we wrote last.
    ours: Option<Record>,
    /// The newest version seen, and when it was first seen.
    seen: Option<(Option<String>, Instant)>,
}

impl Elector {
    pub(super) fn new(holder: String, duration: Duration) -> Self {
        Self { holder, duration, ours: None, seen: None }
    }

    /// How long a term is from before the request that begins it. A little shorter than what the
    /// others wait, for clocks that do not run alike.
    pub(super) fn term(&self) -> Duration {
        self.duration * 9 / 10
    }

    /// What to do about a Lease as it was found just now. One that does not exist begins with
    /// epoch `first`: those it had before it was deleted must have been lower.
    pub(super) fn step(&mut self, now: Instant, found: Option<&Record>, first: u64) -> Step {
        let Some(found) = found else {
            self.ours = None;
            return Step::Hold(self.taken(None, first));
        };
        if let Some(ours) = self.ours.take() {
            // Taking it always makes another epoch, so nobody but us has written this one.
            if ours.holder == found.holder && ours.transitions == found.transitions {
                let renewed = Record { version: found.version.clone(), ..ours };
                self.ours = Some(renewed.clone());
                return Step::Hold(renewed);
            }
        }
        if self.seen.as_ref().is_none_or(|(version, _)| *version != found.version) {
            self.seen = Some((found.version.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        if found.holder.is_none() || now >= since + found.duration {
            return Step::Hold(self.taken(found.version.clone(), found.transitions + 1));
        }
        Step::Wait
    }

    fn taken(&self, version: Option<String>, transitions: u64) -> Record {
        Record {
            version,
            holder: Some(self.holder.clone()),
            transitions,
            duration: self.duration,
            acquired: None,
        }
    }

    /// It was written.
    pub(super) fn wrote(&mut self, written: &Record) {
        self.ours = Some(written.clone());
    }

    /// What to write to give it back, if it is ours.
    pub(super) fn release(&mut self) -> Option<Record> {
        let ours = self.ours.take()?;
        Some(Record { holder: None, duration: Duration::from_secs(1), ..ours })
    }
}
