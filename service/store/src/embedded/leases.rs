//! Open leases and how far each queue has been given out: in memory only, and the writer's alone.
//! What a lease's end means for its lane is in [`super::settle`].

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use segment_source_core::event::ActionId;

use super::{
    item::Item,
    keys::{Lane, QueueKey},
};
use crate::contract::{Clock, LeaseToken, Millis};

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

pub(super) struct Leases {
    /// What they are measured by; not a time of day.
    clock: Clock,
    /// With the moment at which each ends, by that clock.
    open: HashMap<LeaseToken, (Lease, Millis)>,
    expiries: BTreeSet<(Millis, [u8; 24])>,
    queues: HashMap<QueueKey, Given>,
}

impl Leases {
    /// None yet.
    pub(super) fn new(clock: Clock) -> Self {
        let (open, expiries, queues) = Default::default();
        Self { clock, open, expiries, queues }
    }

    pub(super) fn queue(&mut self, queue: QueueKey) -> &mut Given {
        self.queues.entry(queue).or_insert(Given { up_to: 0, first_due: Some(0), open: 0 })
    }

    pub(super) fn begin(&mut self, token: LeaseToken, lease: Lease, time: Duration) {
        self.queue(lease.queue).open += 1;
        let expires = self.after(time);
        self.expiries.insert((expires, token.0));
        self.open.insert(token, (lease, expires));
    }

    pub(super) fn end(&mut self, token: LeaseToken) -> Option<Lease> {
        let (lease, expires) = self.open.remove(&token)?;
        self.expiries.remove(&(expires, token.0));
        self.queue(lease.queue).open -= 1;
        Some(lease)
    }

    /// The one on an action. Looks at all of them.
    pub(super) fn of(&self, action: ActionId) -> Option<LeaseToken> {
        let mut open = self.open.iter();
        open.find(|(_, (lease, _))| lease.action == action).map(|(token, _)| *token)
    }

    /// From now on. `false`: there is no such lease.
    pub(super) fn extend(&mut self, token: LeaseToken, time: Duration) -> bool {
        let new = self.after(time);
        let Some((_, expires)) = self.open.get_mut(&token) else { return false };
        self.expiries.remove(&(*expires, token.0));
        *expires = new;
        self.expiries.insert((new, token.0));
        true
    }

    /// One whose time is up.
    pub(super) fn expired(&self) -> Option<LeaseToken> {
        let (expires, token) = self.expiries.first()?;
        (*expires <= (self.clock)()).then_some(LeaseToken(*token))
    }

    /// Any one.
    pub(super) fn any(&self) -> Option<LeaseToken> {
        self.expiries.first().map(|(_, token)| LeaseToken(*token))
    }

    /// How long it is until the next one ends, if nothing happens to it.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let (expires, _) = self.expiries.first()?;
        Some(Duration::from_millis(expires.saturating_sub((self.clock)())))
    }

    fn after(&self, time: Duration) -> Millis {
        (self.clock)().saturating_add(u64::try_from(time.as_millis()).unwrap_or(Millis::MAX))
    }
}
