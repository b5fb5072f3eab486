//! Reads entries, applies changes to them one after the other, and writes what is different, again
//! when somebody else wrote in between.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use segment_source_core::{
    directory::{Change, Damaged, Effect, Key, MAX_PROPERTIES, Record, Refusal, Stamp, What},
    source::SourceId,
};
use segment_source_store::{DirectoryWrite, Store, StoreError, Written};

use crate::delivery::code;

/// How often the same is tried when others write the same entries.
pub(super) const TRIES: usize = 64;

/// One change of one action.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'c> {
    /// Which action.
    pub(super) work: usize,
    pub(super) stamp: Stamp,
    pub(super) change: &'c Change,
}

impl Step<'_> {
    pub(super) fn deletes(&self) -> bool {
        self.change.what == What::Delete
    }

    /// How many entries have to be read for it, about.
    pub(super) fn entries(&self) -> usize {
        match self.change.key {
            Key::Recipient(_) | Key::Tenant(_) => 1,
            Key::Subscription { .. } | Key::Member { .. } => 2,
        }
    }
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Told {
    Applied(Effect),
    Refused(Refusal),
    /// An entry that it is about cannot be read. The others are none the worse.
    Damaged,
}

/// Why nothing is known of what became of steps. Doing them again is right.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("others wrote the same entries at the same time, {TRIES} times in a row")]
    Contended,
}

impl Fault {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => code::STORE,
            Self::Damaged(_) => "damaged",
            Self::Contended => "contended",
        }
    }
}

/// Writes the steps in order; what became of each.
pub(super) async fn write(
    store: &Store,
    source: &SourceId,
    steps: &[Step<'_>],
) -> Result<Vec<Told>, Fault> {
    for _ in 0..TRIES {
        let mut entries = Entries::read(store, source, steps).await?;
        let told = steps.iter().map(|step| entries.apply(step)).collect();
        if entries.write(store, source).await? && entries.still_right(store, source, steps).await? {
            return Ok(told);
        }
    }
    Err(Fault::Contended)
}

/// Records by their keys, and what was done to them.
struct Entries {
    places: HashMap<Key, usize>,
    all: Vec<Entry>,
}

struct Entry {
    key: Key,
    /// `None`: there was no such entry.
    revision: Option<u64>,
    record: Record,
    damaged: bool,
    changed: bool,
    /// Bytes of the properties as JSON, about.
    size: usize,
}

impl Entries {
    async fn read(store: &Store, source: &SourceId, steps: &[Step<'_>]) -> Result<Self, Fault> {
        let (mut places, mut keys) = (HashMap::new(), Vec::new());
        for step in steps {
            for key in step.change.key.owners().into_iter().chain([step.change.key.clone()]) {
                places.entry(key.clone()).or_insert_with(|| {
                    keys.push(key);
                    keys.len() - 1
                });
            }
        }
        let found = store.directory(source, keys.iter().map(bytes).collect()).await?;
        let entries = keys.into_iter().zip(found).map(|(key, found)| {
            let revision = found.as_ref().map(|found| found.revision);
            let size = found.as_ref().map_or(0, |found| found.value.len());
            let read = found.map_or(Ok(Record::default()), |it| Record::from_bytes(&it.value));
            let (damaged, record) = (read.is_err(), read.unwrap_or_default());
            Entry { key, revision, record, damaged, changed: false, size }
        });
        Ok(Self { places, all: entries.collect() })
    }

    fn apply(&mut self, step: &Step<'_>) -> Told {
        let Change { key, what } = step.change;
        if key.owners().iter().chain([key]).any(|key| self.all[self.places[key]].damaged) {
            return Told::Damaged;
        }
        let ended = self.ended(key);
        let entry = &mut self.all[self.places[key]];
        if let Some(ended) = ended {
            // What is new is not written only to say that it is not there.
            let changed = entry.record.delete(ended).changed;
            entry.changed |= changed && entry.revision.is_some();
        }
        let effect = match what {
            What::Delete => entry.record.delete(step.stamp),
            What::Set(properties) => {
                entry.size += step.change.size();
                // Measuring costs as much as writing; most entries are far from the limit.
                let before = (entry.size > MAX_PROPERTIES / 2).then(|| entry.record.clone());
                let effect = entry.record.set(step.stamp, properties);
                if let Some(before) = before {
                    entry.size = entry.record.size();
                    if entry.size > MAX_PROPERTIES {
                        let refusal = Refusal::too_large("the entry", entry.size);
                        (entry.size, entry.record) = (before.size(), before);
                        return Told::Refused(refusal);
                    }
                }
                effect
            }
        };
        entry.changed |= effect.changed;
        Told::Applied(effect)
    }

    /// When an entry ended with another's deletion.
    fn ended(&self, key: &Key) -> Option<Stamp> {
        let owners = key.owners();
        owners.iter().filter_map(|owner| self.all[self.places[owner]].record.deleted()).max()
    }

    /// Writes what is different; `false`: somebody else wrote some of it in between.
    async fn write(&self, store: &Store, source: &SourceId) -> Result<bool, Fault> {
        let mut writes = Vec::new();
        let mut notes = HashSet::new();
        for entry in self.all.iter().filter(|entry| entry.changed) {
            if let (Some(note), None) = (entry.key.index(), entry.revision) {
                notes.insert(writes.len());
                let (key, value) = (note.into(), Some(Bytes::new()));
                writes.push(DirectoryWrite { key, expected: None, value });
            }
            writes.push(DirectoryWrite {
                key: bytes(&entry.key),
                expected: entry.revision,
                value: Some(entry.record.to_bytes().into()),
            });
        }
        if writes.is_empty() {
            return Ok(true);
        }
        let written = store.directory_write(source, writes).await?;
        // A note that is there already is as good as a new one.
        let mut entries = written.iter().enumerate().filter(|(at, _)| !notes.contains(at));
        Ok(entries.all(|(_, written)| matches!(written, Written::Done(_))))
    }

    /// Whether nobody deleted an owner after it was read and before its dependants were written:
    /// whoever did may not have seen them.
    async fn still_right(
        &self,
        store: &Store,
        source: &SourceId,
        steps: &[Step<'_>],
    ) -> Result<bool, Fault> {
        let owners: HashSet<Key> = steps
            .iter()
            .filter(|step| !step.deletes())
            .flat_map(|step| step.change.key.owners())
            .collect();
        if owners.is_empty() {
            return Ok(true);
        }
        let owners: Vec<Key> = owners.into_iter().collect();
        let found = store.directory(source, owners.iter().map(bytes).collect()).await?;
        for (owner, found) in owners.iter().zip(found) {
            let Some(found) = found else { continue };
            let known = &self.all[self.places[owner]];
            if known.damaged || Some(found.revision) == known.revision {
                continue;
            }
            if Record::from_bytes(&found.value)?.deleted() != known.record.deleted() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(super) fn bytes(key: &Key) -> Bytes {
    key.to_bytes().into()
}
