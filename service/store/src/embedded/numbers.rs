//! Numbers that only grow: event ids, and places in lanes and among the ready. What a clock that
//! steps back cannot undo, and a restart neither, because the last ones given are written with
//! whatever uses them.

use prost::Message;
use segment_source_core::{event::EventId, source::SourceHash};

use super::{
    engine::Engine,
    fault::Fault,
    keys::{COUNTERS_KEY, Space},
    records::Counters,
    txn::Txn,
};
use crate::contract::Millis;

/// Ids have 48 bits for the time.
const LAST_MILLIS: Millis = (1 << 48) - 1;

pub(super) struct Numbers {
    last: Counters,
    stored: Counters,
}

impl Numbers {
    pub(super) fn load(engine: &Engine) -> Result<Self, Fault> {
        let last = match engine.space(Space::Meta).get(COUNTERS_KEY)? {
            Some(stored) => Counters::decode(&*stored)?,
            None => Counters::default(),
        };
        Ok(Self { stored: last.clone(), last })
    }

    /// Greater than every id given before, by any source.
    pub(super) fn event_id(&mut self, now: Millis, source: SourceHash) -> EventId {
        let last = &mut self.last;
        if now > last.millis {
            (last.millis, last.sequence) = (now.min(LAST_MILLIS), 0);
        } else if last.sequence < u32::from(u16::MAX) {
            last.sequence += 1;
        } else {
            (last.millis, last.sequence) = (last.millis + 1, 0);
        }
        let sequence = u16::try_from(last.sequence).unwrap_or(u16::MAX);
        EventId { millis: last.millis, sequence, source }
    }

    /// Greater than every place given before.
    pub(super) fn place(&mut self) -> u64 {
        self.last.place += 1;
        self.last.place
    }

    /// Adds what was given out to the writes that use it.
    pub(super) fn save(&mut self, txn: &mut Txn<'_>) {
        if self.last != self.stored {
            txn.put(Space::Meta, COUNTERS_KEY, self.last.encode_to_vec());
            self.stored = self.last.clone();
        }
    }
}
