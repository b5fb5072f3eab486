//! Which entries of a log may go, and removing them. For how long they are kept is decided above.

use std::ops::Bound;

use fjall::Slice;
use segment_source_core::{
    event::{ActionId, EventId},
    source::SourceHash,
};

use super::{
    engine::{Day, Engine},
    keys::{self, Space},
    numbers::{Numbers, cost},
    plan,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{Removed, Retain},
    fault::Fault,
};

/// Entries that one step looks at.
const LOOKED_AT: usize = 2_000;
/// A step ends with the entry that brings what it removes to so many bytes.
const REMOVED_BYTES: u64 = 4 << 20;

/// What one step may remove.
pub(super) struct Found {
    entries: Vec<Entry>,
    /// Where the next step begins; `None`: there is nothing more to be looked at.
    pub(super) resume: Option<EventId>,
    /// Days in which the source has nothing any more once this is removed.
    pub(super) days: Vec<u64>,
}

impl Found {
    /// Whether there is nothing to be removed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// An entry that nothing is owed of.
struct Entry {
    event: EventId,
    /// Of its plans, actions and states.
    keys: Vec<Slice>,
    actions: Vec<ActionId>,
    bytes: u64,
}

/// Oldest first. `resume` is what the step before gave.
pub(super) fn find(
    engine: &Engine,
    source: SourceHash,
    keep: Retain,
    resume: Option<EventId>,
) -> Result<Found, Fault> {
    let size = engine.space(Space::Sizes).get(source.0)?;
    let size = size.map_or(0, |size| keys::number(&size, 0));
    let mut beyond = keep.bytes.map_or(0, |limit| size.saturating_sub(limit));
    let mut found = Found { entries: Vec::new(), resume: None, days: Vec::new() };
    let Some(planned) = plan::cursor(engine, source)? else { return Ok(found) };
    let from = match resume {
        Some(resume) => Bound::Excluded(keys::log(resume)),
        None => Bound::Included(keys::log_from(source, 0)),
    };
    let range = (from, Bound::Included(keys::log(planned)));
    let (mut looked_at, mut bytes) = (0, 0);
    for day in engine.days(resume.map_or(0, |resume| resume.millis), planned.millis) {
        let mut number = None;
        for stored in day.log.range(range) {
            let event = keys::event_of(&stored.key()?).ok_or(Fault::damaged("a log key"))?;
            if event.millis >= keep.before && beyond == 0 {
                return Ok(found);
            }
            if let Some(entry) = look(&day, event)? {
                beyond = beyond.saturating_sub(entry.bytes);
                bytes += entry.bytes;
                found.entries.push(entry);
                number = Some(keys::day(event.millis));
            }
            looked_at += 1;
            if looked_at == LOOKED_AT || bytes >= REMOVED_BYTES {
                found.resume = Some(event);
                return Ok(found);
            }
        }
        found.days.extend(number);
    }
    Ok(found)
}

/// `None`: something is owed.
fn look(day: &Day, event: EventId) -> Result<Option<Entry>, Fault> {
    let record = |size: Option<u32>| cost(usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX));
    let bytes = record(day.log.size_of(keys::log(event))?);
    let mut entry = Entry { event, keys: Vec::new(), actions: Vec::new(), bytes };
    // Of which the state was not seen yet.
    let mut pending = None;
    for stored in day.actions.prefix(keys::log(event)) {
        let (key, state) = stored.into_inner_if(|key| key.len() == keys::STATE_LENGTH)?;
        match (&key[16..], state) {
            ([.., keys::STATE], Some(state)) => {
                if StateRecord::read(Some(&state))?.state() == State::Pending {
                    return Ok(None);
                }
                pending = None;
            }
            (suffix, _) => {
                if pending.is_some() {
                    return Ok(None);
                }
                if let [a, b, c, d] = suffix {
                    let id = keys::action_of(event, [*a, *b, *c, *d]);
                    entry.actions.push(id);
                    pending = Some(id);
                }
                entry.bytes += record(day.actions.size_of(&key)?);
            }
        }
        entry.keys.push(key);
    }
    Ok(pending.is_none().then_some(entry))
}

/// Removes what is still there.
pub(super) fn remove(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    found: &Found,
) -> Result<Removed, Fault> {
    let mut removed = Removed { more: found.resume.is_some(), ..Removed::default() };
    for Entry { event, keys, actions, bytes } in &found.entries {
        if !txn.has_entry(*event)? {
            continue;
        }
        txn.set_entry(*event, None);
        for key in keys {
            txn.remove_action(event.millis, key);
        }
        for action in actions {
            txn.remove(Space::Dead, &keys::dead(*action));
        }
        numbers.shrank(event.source, *bytes);
        removed.events += 1;
        removed.actions += u64::try_from(actions.len()).unwrap_or(u64::MAX);
    }
    Ok(removed)
}
