//! Open leases and how far each queue has been given out: in memory only, and the writer's alone.
//! What a lease's end means for its lane is in [`super::settle`].

use std::collections::{BTreeSet, HashMap};

use segment_source_core::event::ActionId;

use super::{
    keys::{Lane, QueueKey},
    records::Item,
};
use crate::contract::{LeaseToken, Millis};

/// Open leases a queue may have; a consumer that wants more waits.
pub(super) const PER_QUEUE: usize = 65_536;

/// An action that somebody has.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) queue: QueueKey,
    pub(super) lane: Lane,
    /// Its place in the lane.
    pub(super) seq: u64,
    /// Its place among the ready.
    pub(super) ready: u64,
    pub(super) action: ActionId,
    pub(super) item: Item,
    /// This one included.
    pub(super) attempt: u32,
    pub(super) first_attempt: Option<Millis>,
    pub(super) started: Millis,
    pub(super) expires: Millis,
}

/// What is known of a queue beyond the disk.
#[derive(Debug)]
pub(super) struct Given {
    /// Ready heads up to this number are leased or gone. New ones get greater numbers, so this
    /// passes over nothing, and over none twice.
    pub(super) up_to: u64,
    /// No delayed head is due before; `None`: there is none. At first, nothing is known: 0.
    pub(super) first_due: Option<Millis>,
    /// Open leases.
    pub(super) open: usize,
}

#[derive(Default)]
pub(super) struct Leases {
    open: HashMap<LeaseToken, Lease>,
    expiries: BTreeSet<(Millis, [u8; 24])>,
    queues: HashMap<QueueKey, Given>,
}

impl Leases {
    pub(super) fn queue(&mut self, queue: QueueKey) -> &mut Given {
        self.queues.entry(queue).or_insert(Given { up_to: 0, first_due: Some(0), open: 0 })
    }

    pub(super) fn begin(&mut self, token: LeaseToken, lease: Lease) {
        self.queue(lease.queue).open += 1;
        self.expiries.insert((lease.expires, token.0));
        self.open.insert(token, lease);
    }

    pub(super) fn end(&mut self, token: LeaseToken) -> Option<Lease> {
        let lease = self.open.remove(&token)?;
        self.expiries.remove(&(lease.expires, token.0));
        self.queue(lease.queue).open -= 1;
        Some(lease)
    }

    /// `false`: there is no such lease.
    pub(super) fn extend(&mut self, token: LeaseToken, expires: Millis) -> bool {
        let Some(lease) = self.open.get_mut(&token) else { return false };
        self.expiries.remove(&(lease.expires, token.0));
        lease.expires = expires;
        self.expiries.insert((expires, token.0));
        true
    }

    /// One whose time is up.
    pub(super) fn expired(&self, now: Millis) -> Option<LeaseToken> {
        let (expires, token) = self.expiries.first()?;
        (*expires <= now).then_some(LeaseToken(*token))
    }

    /// Any one.
    pub(super) fn any(&self) -> Option<LeaseToken> {
        self.expired(Millis::MAX)
    }

    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.expiries.first().map(|(expires, _)| *expires)
    }
}
