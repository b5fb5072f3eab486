//! One group's writes: what it changed so far is seen by what comes later in the group, and all of
//! it reaches the disk at once or not at all. What the changes mean is not known here.

use std::collections::BTreeMap;

use fjall::{Keyspace, PersistMode, Slice};
use segment_source_core::event::{ActionId, EventId};

use super::{
    engine::Engine,
    keys::{self, Space},
};
use crate::{contract::Millis, fault::Fault};

/// `None`: removed.
type Changes = BTreeMap<Slice, Option<Slice>>;

/// Writes that wait for [`Txn::commit`]. One key has one value in a commit: the engine could not
/// tell which of two came last.
pub(super) struct Txn<'e> {
    pub(super) engine: &'e Engine,
    spaces: [Changes; Space::ALL.len()],
    /// By the number of the day.
    logs: BTreeMap<u64, Changes>,
    /// As `logs`.
    actions: BTreeMap<u64, Changes>,
    entries: Vec<(Keyspace, Vec<u8>, Vec<u8>)>,
}

impl<'e> Txn<'e> {
    pub(super) fn new(engine: &'e Engine) -> Self {
        Self {
            engine,
            spaces: Default::default(),
            logs: BTreeMap::new(),
            actions: BTreeMap::new(),
            entries: Vec::new(),
        }
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
        self.action(id.event.millis, &keys::state(id))
    }

    pub(super) fn set_state(&mut self, id: ActionId, state: Vec<u8>) {
        self.put_action(id.event.millis, &keys::state(id), state);
    }

    /// What the actions of a day have under a key.
    pub(super) fn action(&self, millis: Millis, key: &[u8]) -> Result<Option<Slice>, Fault> {
        if let Some(change) = self.actions.get(&keys::day(millis)).and_then(|it| it.get(key)) {
            return Ok(change.clone());
        }
        match self.engine.day(millis) {
            Some(day) => Ok(day.actions.get(key)?),
            None => Ok(None),
        }
    }

    pub(super) fn put_action(&mut self, millis: Millis, key: &[u8], value: Vec<u8>) {
        let changes = self.actions.entry(keys::day(millis)).or_default();
        changes.insert(key.into(), Some(value.into()));
    }

    pub(super) fn remove_action(&mut self, millis: Millis, key: &[u8]) {
        self.actions.entry(keys::day(millis)).or_default().insert(key.into(), None);
    }

    /// Everything an event's actions have, plans included, in the order of keys.
    pub(super) fn actions_of(&self, event: EventId) -> Result<Vec<(Slice, Slice)>, Fault> {
        let prefix = keys::log(event);
        let mut found = BTreeMap::new();
        if let Some(day) = self.engine.day(event.millis) {
            for stored in day.actions.prefix(prefix) {
                let (key, value) = stored.into_inner()?;
                found.insert(key, value);
            }
        }
        let changes = self.actions.get(&keys::day(event.millis));
        let changes = changes.into_iter().flat_map(|it| it.range(Slice::from(prefix)..));
        for (key, value) in changes.take_while(|(key, _)| key.starts_with(&prefix)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().collect())
    }

    /// An entry that was committed before.
    pub(super) fn entry(&self, event: EventId) -> Result<Option<Slice>, Fault> {
        let key = keys::log(event);
        let changes = self.logs.get(&keys::day(event.millis));
        if let Some(change) = changes.and_then(|it| it.get(key.as_slice())) {
            return Ok(change.clone());
        }
        match self.engine.day(event.millis) {
            Some(day) => Ok(day.log.get(key)?),
            None => Ok(None),
        }
    }

    /// Whether there is an entry that was committed before.
    pub(super) fn has_entry(&self, event: EventId) -> Result<bool, Fault> {
        let key = keys::log(event);
        let changes = self.logs.get(&keys::day(event.millis));
        if let Some(change) = changes.and_then(|it| it.get(key.as_slice())) {
            return Ok(change.is_some());
        }
        match self.engine.day(event.millis) {
            Some(day) => Ok(day.log.contains_key(key)?),
            None => Ok(false),
        }
    }

    /// Changes or removes an entry that was committed before.
    pub(super) fn set_entry(&mut self, event: EventId, value: Option<Vec<u8>>) {
        let changes = self.logs.entry(keys::day(event.millis)).or_default();
        changes.insert(keys::log(event).into(), value.map(Slice::from));
    }

    /// Writes a new entry; nothing else in the group knows its id.
    pub(super) fn add_entry(&mut self, log: Keyspace, event: EventId, value: Vec<u8>) {
        self.entries.push((log, keys::log(event).to_vec(), value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.logs.is_empty()
            && self.actions.is_empty()
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
        for (keyspace, key, value) in self.entries {
            touch(&keyspace);
            batch.insert(&keyspace, key, value);
        }
        let mut write = |keyspace: &Keyspace, changes: Changes| {
            if !changes.is_empty() {
                touch(keyspace);
            }
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        };
        // A day that was dropped meanwhile does not come back for what is removed from it.
        let gone = |number, changes: &Changes| {
            changes.values().all(Option::is_none) && !self.engine.has_day(number)
        };
        for (number, changes) in self.logs {
            if !gone(number, &changes) {
                write(&self.engine.day_number(number)?.log, changes);
            }
        }
        for (number, changes) in self.actions {
            if !gone(number, &changes) {
                write(&self.engine.day_number(number)?.actions, changes);
            }
        }
        for (space, changes) in Space::ALL.into_iter().zip(self.spaces) {
            write(self.engine.space(space), changes);
        }
        self.engine.make_room(touched.values())?;
        Ok(batch.commit()?)
    }
}
