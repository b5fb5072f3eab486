//! Failed and dead actions: reading them, and putting them back into their lanes. Whether one ought
//! to run again is decided above.

use std::ops::Bound;

use prost::Message;
use segment_source_core::{event::ActionId, source::SourceHash};

use super::{
    engine::{Engine, LOOK_BYTES},
    item::Item,
    keys::{self, QueueKey, Space},
    lanes,
    numbers::{Numbers, cost},
    read,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{ActionStatus, Millis, Revival},
    fault::Fault,
    records::{ActionRecord, LogRecord},
};

/// In the order of their ids, behind `after`.
pub(super) fn dead(
    engine: &Engine,
    source: SourceHash,
    after: Option<ActionId>,
    limit: usize,
    now: Millis,
) -> Result<Vec<ActionStatus>, Fault> {
    let from = match after {
        Some(after) => Bound::Excluded(keys::dead(after).to_vec()),
        None => Bound::Included(source.0.to_vec()),
    };
    let until = Bound::Included([source.0.as_slice(), &[0xff; 20]].concat());
    let (mut found, mut bytes) = (Vec::new(), 0);
    for stored in engine.space(Space::Dead).range((from, until)) {
        if found.len() >= limit || bytes >= LOOK_BYTES {
            break;
        }
        let key = stored.key()?;
        let id = key.get(8..).and_then(|id| id.try_into().ok());
        let id = ActionId::from_bytes(id.ok_or(Fault::damaged("a dead letter's key"))?);
        // Gone meanwhile, or revived.
        let Some(status) = read::status(engine, id, now)? else { continue };
        bytes += status.action.payload.as_ref().map_or(0, |payload| payload.len());
        found.push(status);
    }
    Ok(found)
}

/// The queue in which it waits now; `None`: it is not failed or dead, or has nothing to be sent.
pub(super) fn revive(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    now: Millis,
    revival: Revival,
) -> Result<Option<QueueKey>, Fault> {
    let id = revival.action;
    let Some(stored) = txn.action(id.event.millis, &keys::action(id))? else { return Ok(None) };
    let mut state = StateRecord::read(txn.state(id)?.as_deref())?;
    let Some(entry) = txn.entry(id.event)? else { return Ok(None) };
    let entry = LogRecord::decode(&*entry)?;
    let mut action = ActionRecord::decode(&*stored)?;
    let mut size = stored.len();
    match (state.state(), revival.payload) {
        _ if entry.erased => return Ok(None),
        (State::Dead, _) if action.payload.is_some() => {}
        (State::Failed, Some(payload)) => {
            action.payload = Some(payload);
            let record = action.encode_to_vec();
            numbers.grew(id.event.source, record.len());
            numbers.shrank(id.event.source, cost(size));
            size = record.len();
            txn.put_action(id.event.millis, &keys::action(id), record);
        }
        _ => return Ok(None),
    }
    state.state = State::Pending.into();
    state.not_before = None;
    let queue = QueueKey::new(id.event.source, &action.destination);
    let lane = keys::lane(entry.order_key.as_deref(), id.event);
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let item = Item { action: id, size, again: Some((state.attempts, now)) };
    txn.set_state(id, state.encode_to_vec());
    txn.remove(Space::Dead, &keys::dead(id));
    lanes::append(txn, numbers, queue, lane, item)?;
    Ok(Some(queue))
}
