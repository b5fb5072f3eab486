//! One group's writes: what it changed so far is seen by what comes later in the group, and all of
//! it reaches the disk at once or not at all. What the changes mean is not known here.

use std::collections::BTreeMap;

use fjall::{Keyspace, PersistMode, Slice};
use segment_source_core::event::ActionId;

use super::{
    engine::Engine,
    fault::Fault,
    keys::{self, Space},
};

/// `None`: removed.
type Changes = BTreeMap<Slice, Option<Slice>>;

/// Writes that wait for [`Txn::commit`]. One key has one value in a commit: the engine could not
/// tell which of two came last.
pub(super) struct Txn<'e> {
    pub(super) engine: &'e Engine,
    spaces: [Changes; Space::ALL.len()],
    states: BTreeMap<ActionId, Vec<u8>>,
    records: Vec<(Keyspace, Vec<u8>, Vec<u8>)>,
}

impl<'e> Txn<'e> {
    pub(super) fn new(engine: &'e Engine) -> Self {
        Self { engine, spaces: Default::default(), states: BTreeMap::new(), records: Vec::new() }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, Fault> {
        match self.spaces[space as usize].get(key) {
            Some(change) => Ok(change.clone()),
            None => Ok(self.engine.space(space).get(key)?),
        }
    }

    pub(super) fn put(&mut self, space: Space, key: &[u8], value: Vec<u8>) {
        self.spaces[space as usize].insert(key.into(), Some(value.into()));
    }

    pub(super) fn remove(&mut self, space: Space, key: &[u8]) {
        self.spaces[space as usize].insert(key.into(), None);
    }

    /// The first entry behind `after`, up to and including `last`.
    pub(super) fn next(
        &self,
        space: Space,
        after: &[u8],
        last: &[u8],
    ) -> Result<Option<(Slice, Slice)>, Fault> {
        use std::ops::Bound::{Excluded, Included};
        let changes = &self.spaces[space as usize];
        let range = (Excluded(after), Included(last));
        let changed = changes
            .range::<[u8], _>(range)
            .find_map(|(key, value)| Some((key.clone(), value.clone()?)));
        for stored in self.engine.space(space).range::<&[u8], _>(range) {
            let (key, value) = stored.into_inner()?;
            if changed.as_ref().is_some_and(|(first, _)| *first <= key) {
                return Ok(changed);
            }
            if !changes.contains_key(&key) {
                return Ok(Some((key, value)));
            }
        }
        Ok(changed)
    }

    /// The last known state of an action.
    pub(super) fn state(&self, id: ActionId) -> Result<Option<Slice>, Fault> {
        if let Some(state) = self.states.get(&id) {
            return Ok(Some(state.as_slice().into()));
        }
        match self.engine.day(id.event.millis) {
            Some(day) => Ok(day.actions.get(keys::state(id))?),
            None => Ok(None),
        }
    }

    pub(super) fn set_state(&mut self, id: ActionId, state: Vec<u8>) {
        self.states.insert(id, state);
    }

    /// Writes a record that is never changed, under a key that is new.
    pub(super) fn add(&mut self, keyspace: Keyspace, key: &[u8], value: Vec<u8>) {
        self.records.push((keyspace, key.to_vec(), value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.states.is_empty()
            && self.spaces.iter().all(BTreeMap::is_empty)
    }

    /// Blocks. `SyncData` (fdatasync) brings the journal's data and as much of its metadata to disk
    /// as reading it back needs; with `Buffer` it can be lost, whole, but is never torn.
    pub(super) fn commit(self, mode: PersistMode) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let mut batch = self.engine.batch().durability(Some(mode));
        let mut touched = BTreeMap::new();
        let mut touch = |keyspace: &Keyspace| {
            touched.entry(keyspace.id()).or_insert_with(|| keyspace.clone());
        };
        for (keyspace, key, value) in self.records {
            touch(&keyspace);
            batch.insert(&keyspace, key, value);
        }
        for (id, state) in self.states {
            let day = self.engine.day_or_create(id.event.millis)?;
            touch(&day.actions);
            batch.insert(&day.actions, keys::state(id), state);
        }
        for (space, changes) in Space::ALL.into_iter().zip(self.spaces) {
            let keyspace = self.engine.space(space);
            if !changes.is_empty() {
                touch(keyspace);
            }
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        self.engine.make_room(touched.values())?;
        Ok(batch.commit()?)
    }
}
