//! Lanes and their heads on disk. Who has which lease is [`super::leases`]'s.

use prost::Message;

use super::{
    item::Item,
    keys::{self, Lane, QueueKey, Space},
    leases::{Lease, Leases},
    numbers::Numbers,
    stored::{Head, Place},
    txn::Txn,
};
use crate::{contract::Millis, fault::Fault};

/// Puts an action at the end of its lane; if the lane was empty, its head is ready.
pub(super) fn append(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    queue: QueueKey,
    lane: Lane,
    item: Item,
) -> Result<(), Fault> {
    let seq = numbers.place();
    txn.put(Space::Lanes, &keys::in_lane(queue, lane, seq), item.to_bytes());
    if txn.get(Space::Places, &keys::place(queue, lane))?.is_none() {
        put(txn, numbers, queue, None, &head(lane, seq, item));
    }
    Ok(())
}

/// Takes a leased head out of its lane; the next one is ready.
pub(super) fn remove_head(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    lease: &Lease,
) -> Result<(), Fault> {
    let Lease { queue, lane, seq, .. } = *lease;
    txn.remove(Space::Ready, &keys::ready(queue, lease.ready));
    go_on(txn, numbers, queue, lane, seq)
}

/// Takes an action out of its lane that is not leased. `None`: it is leased, or not there.
pub(super) fn withdraw(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    queue: QueueKey,
    lane: Lane,
    seq: u64,
) -> Result<Option<Item>, Fault> {
    let key = keys::in_lane(queue, lane, seq);
    let Some(item) = txn.get(Space::Lanes, &key)? else { return Ok(None) };
    let item = Item::from_bytes(&item)?;
    let missing = || Fault::damaged("the head of a lane");
    let place = txn.get(Space::Places, &keys::place(queue, lane))?.ok_or_else(missing)?;
    let place = Place::decode(&*place)?;
    let (space, at) = match place.due {
        None => (Space::Ready, keys::ready(queue, place.seq).to_vec()),
        Some(due) => (Space::Delayed, keys::delayed(queue, due, place.seq).to_vec()),
    };
    let head = Head::decode(&*txn.get(space, &at)?.ok_or_else(missing)?)?;
    if head.seq != seq {
        txn.remove(Space::Lanes, &key);
        return Ok(Some(item));
    }
    if place.due.is_none() && place.seq <= leases.queue(queue).up_to {
        return Ok(None);
    }
    txn.remove(space, &at);
    go_on(txn, numbers, queue, lane, seq)?;
    Ok(Some(item))
}

/// Removes what was the head of its lane; the next one is ready.
fn go_on(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    queue: QueueKey,
    lane: Lane,
    seq: u64,
) -> Result<(), Fault> {
    let key = keys::in_lane(queue, lane, seq);
    txn.remove(Space::Lanes, &key);
    match txn.next(Space::Lanes, &key, &keys::in_lane(queue, lane, u64::MAX))? {
        Some((key, item)) => {
            let head = head(lane, keys::number(&key, 24), Item::from_bytes(&item)?);
            put(txn, numbers, queue, None, &head);
        }
        None => txn.remove(Space::Places, &keys::place(queue, lane)),
    }
    Ok(())
}

/// Puts a leased head back: last among the ready, or among the delayed; with its attempts until now,
/// and when the first of them began.
pub(super) fn return_head(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    lease: &Lease,
    due: Option<Millis>,
    (attempts, first_attempt): (u32, Option<Millis>),
) {
    txn.remove(Space::Ready, &keys::ready(lease.queue, lease.ready));
    let head = Head { attempts, first_attempt, ..head(lease.lane, lease.seq, lease.item) };
    put(txn, numbers, lease.queue, due, &head);
}

/// Makes delayed heads ready whose time has come, at most `limit`. `from` is not after the first
/// delayed head of the queue; returns the same for what is left, `None` when nothing is.
pub(super) fn promote(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    queue: QueueKey,
    from: Millis,
    now: Millis,
    limit: usize,
) -> Result<Option<Millis>, Fault> {
    let range = keys::delayed(queue, from, 0)..=keys::delayed(queue, Millis::MAX, u64::MAX);
    for (stored, promoted) in txn.engine.space(Space::Delayed).range(range).zip(0..) {
        let (key, value) = stored.into_inner()?;
        let due = keys::number(&key, 16);
        if due > now || promoted == limit {
            return Ok(Some(due));
        }
        txn.remove(Space::Delayed, &key);
        put(txn, numbers, queue, None, &Head::decode(&*value)?);
    }
    Ok(None)
}

/// One that was not attempted since it came into its lane.
fn head(lane: Lane, seq: u64, item: Item) -> Head {
    let lane = u64::from_be_bytes(lane);
    Head { lane, seq, item: item.to_bytes(), attempts: item.attempts(), first_attempt: None }
}

fn put(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    queue: QueueKey,
    due: Option<Millis>,
    head: &Head,
) {
    let seq = numbers.place();
    match due {
        None => txn.put(Space::Ready, &keys::ready(queue, seq), head.encode_to_vec()),
        Some(due) => {
            txn.put(Space::Delayed, &keys::delayed(queue, due, seq), head.encode_to_vec());
        }
    }
    let place = keys::place(queue, head.lane.to_be_bytes());
    txn.put(Space::Places, &place, Place { due, seq }.encode_to_vec());
}

/// A ready head: its number there, and what it is.
pub(super) struct ReadyHead {
    pub(super) ready: u64,
    pub(super) lane: Lane,
    pub(super) seq: u64,
    pub(super) item: Item,
    pub(super) attempts: u32,
    pub(super) first_attempt: Option<Millis>,
}

impl ReadyHead {
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let head = Head::decode(value)?;
        Ok(Self {
            ready: keys::number(key, 16),
            lane: head.lane.to_be_bytes(),
            seq: head.seq,
            item: Item::from_bytes(&head.item)?,
            attempts: head.attempts,
            first_attempt: head.first_attempt,
        })
    }
}
