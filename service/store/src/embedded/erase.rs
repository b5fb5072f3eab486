//! Removing what events say, and what was made of it, while it stays known that they were there.

use std::collections::HashSet;

use prost::Message;
use segment_source_core::event::{ActionId, EventId};

use super::{
    item::Item,
    keys::{self, Lane, QueueKey, Space},
    lanes,
    leases::{Lease, Leases},
    numbers::{Numbers, cost},
    plan,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{Reason, Removed},
    fault::Fault,
    records::{ActionRecord, ERASED, LogRecord, Pair, PlanRecord, RunRecord},
};

/// What erasing does besides writing.
#[derive(Default)]
pub(super) struct Effects {
    /// Queues in which lanes went on.
    pub(super) queues: Vec<QueueKey>,
    /// Leases that ended.
    pub(super) leases: Vec<Lease>,
}

/// Everything of one event. `unplanned` gets it when it is not planned yet: the planner may have it.
pub(super) fn erase(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    unplanned: &mut HashSet<EventId>,
    event: EventId,
    effects: &mut Effects,
) -> Result<Removed, Fault> {
    let mut removed = Removed::default();
    let Some(stored) = txn.entry(event)? else { return Ok(removed) };
    let mut entry = LogRecord::decode(&*stored)?;
    if entry.erased {
        return Ok(removed);
    }
    let lane = keys::lane(entry.order_key.as_deref(), event);
    entry.forget();
    let record = entry.encode_to_vec();
    shrink(numbers, event, stored.len(), record.len());
    txn.set_entry(event, Some(record));
    removed.events = 1;
    if plan::cursor(txn.engine, event.source)?.is_none_or(|cursor| cursor < event) {
        unplanned.insert(event);
    }
    for (key, value) in txn.actions_of(event)? {
        let record = match &key[16..] {
            [] => {
                let mut record = PlanRecord::decode(&*value)?;
                forget(&mut record);
                record.encode_to_vec()
            }
            [_, _] => {
                let mut record = RunRecord::decode(&*value)?;
                record.plan.iter_mut().for_each(forget);
                record.encode_to_vec()
            }
            [a, b, c, d] => {
                let id = keys::action_of(event, [*a, *b, *c, *d]);
                let mut record = ActionRecord::decode(&*value)?;
                let queue = QueueKey::new(event.source, &record.destination);
                removed.actions += u64::from(record.payload.take().is_some());
                drop_action(txn, numbers, leases, id, (queue, lane), effects)?;
                record.encode_to_vec()
            }
            _ => continue,
        };
        shrink(numbers, event, value.len(), record.len());
        txn.put_action(event.millis, &key, record);
    }
    Ok(removed)
}

/// Takes an action from where it waits, or away from who has it, and says so.
fn drop_action(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    id: ActionId,
    (queue, lane): (QueueKey, Lane),
    effects: &mut Effects,
) -> Result<(), Fault> {
    txn.remove(Space::Dead, &keys::dead(id));
    let mut state = StateRecord::read(txn.state(id)?.as_deref())?;
    if state.state() == State::Pending {
        if let Some(token) = leases.of(id)
            && let Some(lease) = leases.end(token)
        {
            lanes::remove_head(txn, numbers, &lease)?;
            state.attempts = lease.attempt;
            effects.leases.push(lease);
        } else if let Some(seq) = place(txn, queue, lane, id)? {
            lanes::withdraw(txn, numbers, leases, queue, lane, seq)?;
            effects.queues.push(queue);
        }
        let message = "the event was erased before this was delivered".to_owned();
        state.end(State::Dead, Reason { code: ERASED.to_owned(), message });
    }
    state.forget(ERASED);
    txn.set_state(id, state.encode_to_vec());
    Ok(())
}

/// Where an action stands in its lane.
fn place(txn: &Txn<'_>, queue: QueueKey, lane: Lane, id: ActionId) -> Result<Option<u64>, Fault> {
    let last = keys::in_lane(queue, lane, u64::MAX);
    let mut at = keys::in_lane(queue, lane, 0).to_vec();
    while let Some((key, item)) = txn.next(Space::Lanes, &at, &last)? {
        if Item::from_bytes(&item)?.action == id {
            return Ok(Some(keys::number(&key, 24)));
        }
        at = key.to_vec();
    }
    Ok(None)
}

fn forget(plan: &mut PlanRecord) {
    plan.notes.iter_mut().for_each(|Pair { second, .. }| ERASED.clone_into(second));
}

fn shrink(numbers: &mut Numbers, event: EventId, from: usize, to: usize) {
    numbers.shrank(event.source, cost(from).saturating_sub(cost(to)));
}
