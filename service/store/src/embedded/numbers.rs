//! Numbers that only grow: event ids, and places in lanes and among the ready. What a clock that
//! steps back cannot undo, and a restart neither, because the last ones given are written with
//! whatever uses them. And about how many bytes the log of each source has.

use std::collections::{HashMap, HashSet};

use prost::Message;
use segment_source_core::{event::EventId, source::SourceHash};

use super::{
    engine::Engine,
    keys::{self, COUNTERS_KEY, Space},
    stored::Counters,
    txn::Txn,
};
use crate::{contract::Millis, fault::Fault};

/// Ids have 48 bits for the time.
const LAST_MILLIS: Millis = (1 << 48) - 1;

pub(super) struct Numbers {
    last: Counters,
    stored: Counters,
    sizes: HashMap<SourceHash, u64>,
    changed_sizes: HashSet<SourceHash>,
}

/// What an entry or an action takes on disk besides its record, about.
const OVERHEAD: u64 = 32;

/// Bytes a record of this length counts for in its source's size.
pub(super) fn cost(record: usize) -> u64 {
    u64::try_from(record).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
}

impl Numbers {
    pub(super) fn load(engine: &Engine) -> Result<Self, Fault> {
        let last = counters(engine)?;
        let mut sizes = HashMap::new();
        for stored in engine.space(Space::Sizes).iter() {
            let (key, value) = stored.into_inner()?;
            let source = (*key).try_into().map_err(|_| Fault::damaged("a source's size"))?;
            sizes.insert(SourceHash(source), keys::number(&value, 0));
        }
        for source in uncounted(engine, &sizes)? {
            let size = count(engine, source)?;
            engine.space(Space::Sizes).insert(source.0, size.to_be_bytes())?;
            sizes.insert(source, size);
        }
        Ok(Self { stored: last.clone(), last, sizes, changed_sizes: HashSet::new() })
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

    /// The source's log got a record of so many bytes.
    pub(super) fn grew(&mut self, source: SourceHash, record: usize) {
        let size = self.sizes.entry(source).or_default();
        *size = size.saturating_add(cost(record));
        self.changed_sizes.insert(source);
    }

    /// The source's log lost records with this [`cost`].
    pub(super) fn shrank(&mut self, source: SourceHash, bytes: u64) {
        let size = self.sizes.entry(source).or_default();
        *size = size.saturating_sub(bytes);
        self.changed_sizes.insert(source);
    }

    /// Adds what was given out to the writes that use it.
    pub(super) fn save(&mut self, txn: &mut Txn<'_>) {
        if self.last != self.stored {
            txn.put(Space::Meta, COUNTERS_KEY, self.last.encode_to_vec());
            self.stored = self.last.clone();
        }
        for source in self.changed_sizes.drain() {
            let size = self.sizes.get(&source).copied().unwrap_or_default();
            txn.put(Space::Sizes, &source.0, size.to_be_bytes().to_vec());
        }
    }
}

fn counters(engine: &Engine) -> Result<Counters, Fault> {
    Ok(match engine.space(Space::Meta).get(COUNTERS_KEY)? {
        Some(stored) => Counters::decode(&*stored)?,
        None => Counters::default(),
    })
}

/// The time of the newest event id that was given out; 0: there is none.
pub(super) fn newest(engine: &Engine) -> Result<Millis, Fault> {
    Ok(counters(engine)?.millis)
}

/// Sources with a log that was begun when sizes were not counted yet.
fn uncounted(engine: &Engine, sizes: &HashMap<SourceHash, u64>) -> Result<Vec<SourceHash>, Fault> {
    let mut uncounted = Vec::new();
    for stored in engine.space(Space::Sources).iter() {
        let source = (*stored.key()?).try_into().map_err(|_| Fault::damaged("a source's key"))?;
        let source = SourceHash(source);
        if !sizes.contains_key(&source) {
            uncounted.push(source);
        }
    }
    Ok(uncounted)
}

/// Looks at the whole log: once in the life of a folder. States are not counted, here as elsewhere.
fn count(engine: &Engine, source: SourceHash) -> Result<u64, Fault> {
    let record = |size: u32| cost(usize::try_from(size).unwrap_or(usize::MAX));
    let mut sum = 0_u64;
    for day in engine.days(0, Millis::MAX) {
        for stored in day.log.prefix(source.0) {
            sum = sum.saturating_add(record(stored.size()?));
        }
        for stored in day.actions.prefix(source.0) {
            let key = stored.key()?;
            if key.len() != keys::STATE_LENGTH {
                sum = sum.saturating_add(record(day.actions.size_of(&key)?.unwrap_or(0)));
            }
        }
    }
    Ok(sum)
}
