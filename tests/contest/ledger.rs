//! Holds what was answered against what was delivered: nothing may be missing, come twice, or have
//! other values than the event had.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    event::{Events, Kind, Slot, UNSENT, Wanted},
    peer::Delivery,
    say,
    sink::{Received, Sink},
};

/// What became of the requests of a load, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Events that were answered with 2xx at least once.
    pub(crate) acked: u64,
    /// Acked events that are to be delivered.
    pub(crate) due: u64,
    /// Of those, the ones that were not.
    pub(crate) lost: u64,
    /// Deliveries beyond the first.
    pub(crate) duplicated: u64,
    /// Answers that should have been others.
    pub(crate) wrong_status: u64,
    /// Deliveries with other values than their event's, or of what must not be delivered.
    pub(crate) mislabelled: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.due += other.due;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong_status += other.wrong_status;
        self.mislabelled += other.mislabelled;
    }

    /// Deliveries that a request leads to, on average; more than none.
    pub(crate) fn due_share(&self) -> f64 {
        self.due.max(1) as f64 / self.sent.max(1) as f64
    }
}

/// The requests of a load after it.
pub(crate) struct Ledger {
    slots: Vec<Slot>,
    /// Found in bodies so far.
    mislabelled: u64,
}

impl Ledger {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self { slots, mislabelled: 0 }
    }

    fn due(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.acked() && slot.kind.is_delivered())
    }

    fn missing(&self, received: &Received) -> usize {
        self.due().filter(|slot| received.taken(slot.event) == 0).count()
    }

    /// Waits until everything that was acked is delivered; how long after the load that was, or
    /// nothing when it took longer than that.
    pub(crate) fn drained(
        &self,
        sink: &Sink,
        since: Instant,
        at_most: Duration,
    ) -> Option<Duration> {
        while self.missing(&sink.received()) > 0 {
            if since.elapsed() > at_most {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(sink.received().last.saturating_duration_since(since))
    }

    /// Compares the bodies that came with the events they are about. All of them are of this load.
    pub(crate) fn judge(
        &mut self,
        sink: &Sink,
        events: &mut Events,
        delivery: &Delivery,
    ) -> anyhow::Result<()> {
        let bodies = std::mem::take(&mut sink.received().bodies);
        let Some(first) = self.slots.first().map(|slot| slot.event) else { return Ok(()) };
        for (event, body) in bodies {
            // Slots are in the order of the events' numbers. Late ones of a load before are not among
            // them.
            let at = event.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            let Some(slot) = at.and_then(|at| self.slots.get(at)) else { continue };
            let right = delivery.is_right(slot.kind, &events.event(slot.kind, event)?, &body);
            if !right && self.mislabelled == 0 {
                say(&format!("  a wrong delivery: {}", String::from_utf8_lossy(&body)));
            }
            self.mislabelled += u64::from(!right);
        }
        Ok(())
    }

    pub(crate) fn counts(&self, received: &Received) -> Counts {
        let mut counts = Counts { mislabelled: self.mislabelled, ..Counts::default() };
        // By event, as repeats are of one that was there before.
        let mut acked = std::collections::HashSet::new();
        for slot in &self.slots {
            counts.sent += u64::from(slot.status != UNSENT);
            counts.wrong_status += u64::from(slot.is_wrong());
            let first = slot.acked() && acked.insert(slot.event);
            counts.acked += u64::from(first);
            let taken = u64::from(received.taken(slot.event));
            if first && slot.kind.is_delivered() {
                counts.due += 1;
                counts.lost += u64::from(taken == 0);
            }
            match slot.wanted {
                Wanted::Bad => counts.mislabelled += taken,
                // Of another kind they are mislabelled already.
                Wanted::New if slot.kind.is_delivered() => {
                    counts.duplicated += taken.saturating_sub(1);
                }
                Wanted::New | Wanted::Repeat => {}
            }
        }
        counts
    }

    /// How many of its events were delivered.
    pub(crate) fn delivered(&self, received: &Received) -> u64 {
        let new = self.slots.iter().filter(|slot| slot.wanted == Wanted::New);
        new.filter(|slot| received.taken(slot.event) > 0).count() as u64
    }

    /// Events whose first attempt was refused and which were delivered by a later one.
    pub(crate) fn retried(&self, received: &Received) -> usize {
        let again =
            |slot: &&Slot| received.attempts(slot.event) > 1 && received.taken(slot.event) > 0;
        self.slots.iter().filter(|slot| slot.wanted == Wanted::New).filter(again).count()
    }

    /// How many requests of that sort were answered right, and how many there were.
    pub(crate) fn answered(&self, wanted: Wanted) -> (usize, usize) {
        let of = || self.slots.iter().filter(move |slot| slot.wanted == wanted);
        let right = |slot: &&Slot| match wanted {
            Wanted::Bad => slot.status == 401,
            _ => slot.acked(),
        };
        (of().filter(right).count(), of().count())
    }
}

impl Delivery {
    /// Whether a body has the kind and all the values that its event asks for.
    pub(crate) fn is_right(&self, kind: Kind, event: &Value, body: &[u8]) -> bool {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
        let (name, values) = match kind {
            Kind::Identify => (&self.kinds.identify, &self.identify),
            Kind::Order => (&self.kinds.trigger, &self.trigger),
            Kind::Other(_) => return false,
        };
        let same = |to: &str, from: &str| match from.starts_with('/') {
            true => event.pointer(from).is_some_and(|value| body.pointer(to) == Some(value)),
            false => body.pointer(to).and_then(Value::as_str) == Some(from),
        };
        body.pointer(&self.kind).and_then(Value::as_str) == Some(name)
            && self.message_id.as_ref().is_none_or(|to| same(to, "/messageId"))
            && !values.is_empty()
            && values.iter().all(|(to, from)| same(to, from))
    }
}
