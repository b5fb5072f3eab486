//! What waits in a queue: how much it is, and dead letters made of what waited too long.

use std::ops::Bound;

use prost::Message;

use super::{
    engine::Engine,
    item::Item,
    keys::{self, Lane, QueueKey, Space},
    lanes::{self, ReadyHead},
    leases::Leases,
    numbers::Numbers,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{Backlog, Millis, Reason},
    fault::Fault,
};

/// Lanes are counted up to so many.
const COUNTED: usize = 100_000;
/// Places in lanes that one step looks at.
const LOOKED_AT: usize = 20_000;
/// Of these, so many are removed.
const REMOVED: usize = 1_000;

pub(super) fn backlog(engine: &Engine, queue: QueueKey) -> Result<Backlog, Fault> {
    let lanes = engine.space(Space::Places).prefix(queue.0).take(COUNTED);
    let lanes = lanes.map(|stored| stored.key().map(drop)).collect::<Result<Vec<_>, _>>()?.len();
    let mut oldest: Option<Millis> = None;
    for space in [Space::Ready, Space::Delayed] {
        if let Some(stored) = engine.space(space).prefix(queue.0).next() {
            let (key, value) = stored.into_inner()?;
            let head = ReadyHead::decode(&key, &value)?;
            let accepted = head.item.action.event.millis;
            oldest = Some(oldest.map_or(accepted, |oldest| oldest.min(accepted)));
        }
    }
    Ok(Backlog { lanes: u64::try_from(lanes).unwrap_or(u64::MAX), oldest })
}

/// A place in a lane.
pub(super) type Place = (Lane, u64);

/// What was found in one step.
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    /// Where the next step begins; `None`: everything was looked at.
    pub(super) resume: Option<Vec<u8>>,
}

/// Actions that wait since before a moment. `resume` is what the step before gave.
pub(super) fn find(
    engine: &Engine,
    queue: QueueKey,
    before: Millis,
    resume: Option<Vec<u8>>,
) -> Result<Found, Fault> {
    let from = resume.map_or(Bound::Included(queue.0.to_vec()), Bound::Excluded);
    let until = Bound::Included([queue.0.as_slice(), &[0xff; 16]].concat());
    let mut places = Vec::new();
    for (stored, looked_at) in engine.space(Space::Lanes).range((from, until)).zip(1..) {
        let (key, value) = stored.into_inner()?;
        if Item::from_bytes(&value)?.since() < before {
            places.push((keys::number(&key, 16).to_be_bytes(), keys::number(&key, 24)));
        }
        if looked_at == LOOKED_AT || places.len() == REMOVED {
            return Ok(Found { places, resume: Some(key.to_vec()) });
        }
    }
    Ok(Found { places, resume: None })
}

/// Makes dead letters of what still waits there. How many there were.
pub(super) fn expire(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    queue: QueueKey,
    places: &[Place],
    reason: &Reason,
) -> Result<u64, Fault> {
    let mut expired = 0;
    for (lane, seq) in places {
        let withdrawn = lanes::withdraw(txn, numbers, leases, queue, *lane, *seq)?;
        let Some(Item { action, .. }) = withdrawn else { continue };
        let mut state = StateRecord::read(txn.state(action)?.as_deref())?;
        state.end(State::Dead, reason.clone());
        txn.set_state(action, state.encode_to_vec());
        txn.put(Space::Dead, &keys::dead(action), Vec::new());
        expired += 1;
    }
    Ok(expired)
}
