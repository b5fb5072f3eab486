//! Heads of lanes into leases.

use std::{sync::Arc, time::Duration};

use fjall::PersistMode;
use segment_source_core::{event::ActionId, source::SourceHash};

use super::{
    engine::Engine,
    item::Item,
    keys::{self, QueueKey, Space},
    lanes::{self, ReadyHead},
    leases::{Lease, Leases, PER_QUEUE},
    numbers::Numbers,
    shared::Shared,
    txn::Txn,
};
use crate::{
    contract::{LeaseToken, Millis},
    fault::Fault,
};

/// Delayed heads made ready by one take: as many as it wants, within these bounds. The next one
/// goes on, so that nobody waits for a hundred thousand that are due at once.
const PROMOTED_AT_ONCE: (usize, usize) = (64, 1024);

/// Records that one take gives, in bytes, unless a single one is larger. All of them are in memory
/// at once; and with what goes around them they fit into the 4 MiB that gRPC clients take.
const TAKEN_BYTES: usize = 3 << 20;

/// A lease whose action is still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    pub(super) token: LeaseToken,
    pub(super) expires: Millis,
    pub(super) attempt: u32,
    pub(super) first_attempt: Option<Millis>,
    pub(super) action: ActionId,
}

/// New leases on their way to the taker. If it is gone by then, they are released.
pub(super) struct Granted {
    pub(super) taken: Vec<Taking>,
    pub(super) next_due: Option<Millis>,
    pub(super) shared: Arc<Shared>,
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.shared.release(self.taken.iter().map(|taking| taking.token));
    }
}

/// What to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) queue: QueueKey,
    pub(super) max: usize,
    pub(super) lease: Duration,
}

/// Leases heads of lanes, and says when the next delayed one is due. Looks at what is committed;
/// what it writes itself need not be synced: if it is lost, the next take writes it again.
pub(super) fn take(
    engine: &Engine,
    numbers: &mut Numbers,
    leases: &mut Leases,
    now: Millis,
    wanted: Wanted,
) -> Result<(Vec<Taking>, Option<Millis>), Fault> {
    let Wanted { queue, max, lease } = wanted;
    if let Some(from) = leases.queue(queue).first_due.filter(|first| *first <= now) {
        let mut txn = Txn::new(engine);
        let limit = max.clamp(PROMOTED_AT_ONCE.0, PROMOTED_AT_ONCE.1);
        let first = lanes::promote(&mut txn, numbers, queue, from, now, limit)?;
        numbers.save(&mut txn);
        txn.commit(PersistMode::Buffer)?;
        leases.queue(queue).first_due = first;
    }
    let given = leases.queue(queue);
    let next_due = given.first_due;
    let max = max.min(PER_QUEUE.saturating_sub(given.open));
    let behind = keys::ready(queue, given.up_to.saturating_add(1));
    let range = behind..=keys::ready(queue, u64::MAX);
    let mut taken = Vec::new();
    let mut bytes = 0_usize;
    for stored in engine.space(Space::Ready).range(range).take(max) {
        let (key, value) = stored.into_inner()?;
        let ReadyHead { ready, lane, seq, item, attempts, first_attempt } =
            ReadyHead::decode(&key, &value)?;
        let Item { action, size, .. } = item;
        bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        if bytes > TAKEN_BYTES && !taken.is_empty() {
            break;
        }
        let token = new_token(action.event.source)?;
        let attempt = attempts.saturating_add(1);
        let expires = now.saturating_add(u64::try_from(lease.as_millis()).unwrap_or(Millis::MAX));
        let started = now;
        let begun =
            Lease { queue, lane, seq, ready, action, item, attempt, first_attempt, started };
        leases.begin(token, begun, lease);
        leases.queue(queue).up_to = ready;
        taken.push(Taking { token, expires, attempt, first_attempt, action });
    }
    Ok((taken, next_due))
}

fn new_token(source: SourceHash) -> Result<LeaseToken, Fault> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Fault::Engine(format!("the system gives no random bytes: {error}")))?;
    Ok(LeaseToken::new(source, random))
}
