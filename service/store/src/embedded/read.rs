//! Reading the log: entries with what happened to them, and entries that wait for a plan. Only
//! reads; blocks on the disk.

use std::ops::RangeInclusive;

use bytes::Bytes;
use fjall::Readable;
use prost::Message;
use segment_source_core::{
    event::{ActionId, EventId},
    source::{SourceHash, SourceId},
};

use super::{
    engine::{Day, Engine, LOOK_BYTES},
    keys::{self, Space},
    plan,
    shared::Shared,
    state::StateRecord,
    stored::SourceRecord,
};
use crate::{
    contract::{ActionState, ActionStatus, LogEntry, LogRange, Millis, Planned, Unplanned},
    fault::Fault,
    records::{self, ActionRecord, LogRecord, PlanRecord, RunRecord},
};

/// Entries that need no plan which one look passes over.
const PASSED_OVER: usize = 4096;

pub(super) fn event(
    engine: &Engine,
    shared: &Shared,
    id: EventId,
) -> Result<Option<LogEntry>, Fault> {
    let Some(day) = engine.day(id.millis) else { return Ok(None) };
    let Some(stored) = day.log.get(keys::log(id))? else { return Ok(None) };
    let Some((source, _)) = newest(engine, id.source)? else { return Ok(None) };
    compose(engine, shared, &day, &source, id, &stored).map(Some)
}

/// Newest first.
pub(super) fn range(
    engine: &Engine,
    shared: &Shared,
    range: &LogRange,
    limit: usize,
) -> Result<Vec<LogEntry>, Fault> {
    let source = range.source.hash();
    let since = range.since.unwrap_or(0);
    let before = range.before.map(keys::log);
    let until = range.until.map(|until| keys::log_from(source, until));
    let end = before.into_iter().chain(until).min().unwrap_or(keys::log_end(source));
    let from = keys::log_from(source, since);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    if from >= end {
        return Ok(entries);
    }
    let latest = keys::event_of(&end).map_or(Millis::MAX, |last| last.millis);
    for day in engine.days(since, latest).into_iter().rev() {
        for stored in day.log.range(from..end).rev() {
            if entries.len() >= limit || bytes >= LOOK_BYTES {
                return Ok(entries);
            }
            let (key, value) = stored.into_inner()?;
            let id = keys::event_of(&key).ok_or(Fault::damaged("a log key"))?;
            let entry = compose(engine, shared, &day, &range.source, id, &value)?;
            bytes += value.len() + payloads(&entry);
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Oldest first.
pub(super) fn after(
    engine: &Engine,
    shared: &Shared,
    source: &SourceId,
    after: Option<EventId>,
    limit: usize,
) -> Result<Vec<LogEntry>, Fault> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let (days, range) = behind(engine, source.hash(), after);
    for day in days {
        for stored in day.log.range(range.clone()) {
            if entries.len() >= limit || bytes >= LOOK_BYTES {
                return Ok(entries);
            }
            let (key, value) = stored.into_inner()?;
            let id = keys::event_of(&key).ok_or(Fault::damaged("a log key"))?;
            let entry = compose(engine, shared, &day, source, id, &value)?;
            bytes += value.len() + payloads(&entry);
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Bytes of an entry's actions.
fn payloads(entry: &LogEntry) -> usize {
    entry.actions.iter().filter_map(|it| it.action.payload.as_ref()).map(Bytes::len).sum()
}

/// Entries that wait for the planner.
pub(super) struct Waiting {
    pub(super) entries: Vec<Unplanned>,
    /// When there are none: the last of those that need none, over which the cursor may move.
    pub(super) passed_over: Option<EventId>,
}

/// Oldest first.
pub(super) fn unplanned(
    engine: &Engine,
    source: SourceHash,
    limit: usize,
) -> Result<Waiting, Fault> {
    // Nothing failed: then no repeat is worth a look.
    let any_failed = any_failed(engine, &source.0)?;
    let mut found = Waiting { entries: Vec::new(), passed_over: None };
    let (mut bytes, mut passed_over) = (0, 0);
    let (days, range) = behind(engine, source, plan::cursor(engine, source)?);
    for day in days {
        for stored in day.log.range(range.clone()) {
            if found.entries.len() >= limit || bytes >= LOOK_BYTES {
                return Ok(found);
            }
            let (key, value) = stored.into_inner()?;
            let id = keys::event_of(&key).ok_or(Fault::damaged("a log key"))?;
            let record = LogRecord::decode(&*value)?;
            let original = record.original()?;
            let again = original.filter(|_| any_failed);
            if let Some(original) = again
                && self::any_failed(engine, &keys::dead_of(original))?
            {
                found.entries.push(Unplanned::Repeat { entry: id, original });
                found.passed_over = None;
            } else if original.is_none() && record.unmappable.is_none() && !record.erased {
                bytes += value.len();
                found.entries.push(Unplanned::Event(id, record.into_event()?));
                found.passed_over = None;
            } else if found.entries.is_empty() {
                found.passed_over = Some(id);
                passed_over += 1;
                if passed_over == PASSED_OVER {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// Whether there is a failed or dead action whose key begins so.
fn any_failed(engine: &Engine, prefix: &[u8]) -> Result<bool, Fault> {
    let first = engine.space(Space::Dead).prefix(prefix).next();
    Ok(first.map(fjall::Guard::key).transpose()?.is_some())
}

/// The source's name and its newest entry.
pub(super) fn newest(
    engine: &Engine,
    source: SourceHash,
) -> Result<Option<(SourceId, EventId)>, Fault> {
    match engine.space(Space::Sources).get(source.0)? {
        Some(stored) => decode_source(&stored).map(Some),
        None => Ok(None),
    }
}

/// Sources that have entries behind their cursor.
pub(super) fn unplanned_sources(engine: &Engine) -> Result<Vec<SourceId>, Fault> {
    let mut behind = Vec::new();
    for stored in engine.space(Space::Sources).iter() {
        let (source, newest) = decode_source(&stored.into_inner()?.1)?;
        if plan::cursor(engine, source.hash())?.is_none_or(|cursor| cursor < newest) {
            behind.push(source);
        }
    }
    Ok(behind)
}

fn decode_source(stored: &[u8]) -> Result<(SourceId, EventId), Fault> {
    let record = SourceRecord::decode(stored)?;
    let source = record.name.parse().map_err(|_| Fault::damaged("a source's name"))?;
    Ok((source, records::event_id(&record.newest)?))
}

/// The days in which a source may have entries behind one, and the keys they have there.
fn behind(
    engine: &Engine,
    source: SourceHash,
    after: Option<EventId>,
) -> (Vec<Day>, RangeInclusive<[u8; 16]>) {
    let from = after.map_or(keys::log_from(source, 0), |after| {
        // The next number; log keys have nothing in between.
        let next = u128::from_be_bytes(keys::log(EventId { source, ..after })).saturating_add(1);
        next.to_be_bytes()
    });
    let days = engine.days(after.map_or(0, |after| after.millis), Millis::MAX);
    (days, from..=keys::log_end(source))
}

/// One action by its id, if it is there.
pub(super) fn status(
    engine: &Engine,
    id: ActionId,
    now: Millis,
) -> Result<Option<ActionStatus>, Fault> {
    let Some(day) = engine.day(id.event.millis) else { return Ok(None) };
    let Some(record) = day.actions.get(keys::action(id))? else { return Ok(None) };
    let mut status = untouched(id, ActionRecord::decode(&*record)?);
    let state = day.actions.get(keys::state(id))?;
    StateRecord::read(state.as_deref())?.tell(&mut status, now);
    Ok(Some(status))
}

/// An action to which nothing has happened.
fn untouched(id: ActionId, action: ActionRecord) -> ActionStatus {
    ActionStatus {
        id,
        action: action.into(),
        state: ActionState::Pending { not_before: None },
        attempts: 0,
        reason: None,
        history: Vec::new(),
        answer: String::new(),
    }
}

fn compose(
    engine: &Engine,
    shared: &Shared,
    day: &Day,
    source: &SourceId,
    id: EventId,
    stored: &[u8],
) -> Result<LogEntry, Fault> {
    let record = LogRecord::decode(stored)?;
    let duplicate_of = record.original()?;
    let now = (shared.clock)();
    // Before the snapshot: what ends in between is seen with its end.
    let leased = shared.leased(id);
    let mut planned = None;
    let mut actions: Vec<ActionStatus> = Vec::new();
    for stored in engine.snapshot().prefix(&day.actions, keys::log(id)) {
        let (key, value) = stored.into_inner()?;
        match &key[16..] {
            [] => planned = Some(Planned::from(PlanRecord::decode(&*value)?)),
            [a, b] => {
                let run = RunRecord::decode(&*value)?.plan.unwrap_or_default().into();
                if let Some(planned) = &mut planned {
                    planned.replays.push((u16::from_be_bytes([*a, *b]), run));
                }
            }
            [a, b, c, d] => {
                let id = keys::action_of(id, [*a, *b, *c, *d]);
                actions.push(untouched(id, ActionRecord::decode(&*value)?));
            }
            _ => {
                let Some(action) = actions.last_mut() else { continue };
                StateRecord::decode(&*value)?.tell(action, now);
            }
        }
    }
    for action in &mut actions {
        if let Some(attempt) = leased.get(&action.id)
            && matches!(action.state, ActionState::Pending { .. })
        {
            action.state = ActionState::Leased;
            action.attempts = *attempt;
        }
    }
    let event = record.into_event()?;
    Ok(LogEntry { id, source: source.clone(), event, duplicate_of, planned, actions })
}
