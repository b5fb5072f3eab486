//! What the store's handles, its readers and the writer thread share.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
};

use segment_source_core::{
    event::{ActionId, EventId},
    source::{SourceHash, SourceId},
};

use super::{engine::Engine, keys::QueueKey, take::Taking};
use crate::{
    bells::Bells,
    contract::{Clock, LeaseToken, StoreError},
    fault::Fault,
    memory::{Steps, ToPlan, lock},
};

pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    /// What leases are measured by.
    pub(super) lease_clock: Clock,
    /// Rung when a head became ready or delayed, or a lease ended.
    pub(super) queues: Bells<QueueKey>,
    /// Rung when a source got entries.
    pub(super) arrivals: Bells<SourceHash>,
    /// Rung when a source's directory changed.
    pub(super) directories: Bells<SourceHash>,
    pub(super) unplanned: ToPlan,
    engine: RwLock<Result<Arc<Engine>, StoreError>>,
    /// Actions somebody has, and which attempt it is.
    leased: Mutex<BTreeMap<ActionId, u32>>,
    released: Mutex<Vec<LeaseToken>>,
    /// Grows before and after what is done may become owed again.
    pub(super) reopened: AtomicU64,
    /// Where the next step of removing begins, of logs that need several.
    pub(super) retaining: Steps<SourceHash, EventId>,
    /// As `retaining`, of queues.
    pub(super) expiring: Steps<QueueKey, Vec<u8>>,
}

impl Shared {
    pub(super) fn new(
        engine: Arc<Engine>,
        clock: Clock,
        lease_clock: Clock,
        unplanned: Vec<SourceId>,
    ) -> Self {
        let waiting = ToPlan::default();
        waiting.mark(unplanned);
        Self {
            dir: engine.dir().to_owned(),
            clock,
            lease_clock,
            queues: Bells::default(),
            arrivals: Bells::default(),
            directories: Bells::default(),
            unplanned: waiting,
            engine: RwLock::new(Ok(engine)),
            leased: Mutex::default(),
            released: Mutex::default(),
            reopened: AtomicU64::new(0),
            retaining: Steps::default(),
            expiring: Steps::default(),
        }
    }

    /// For one operation, not longer.
    pub(super) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_engine(&self, engine: Result<Arc<Engine>, StoreError>) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }

    /// Takes the engine from the readers; all leases are void.
    pub(super) fn fail(&self, why: Fault) {
        self.set_engine(Err(why.into()));
        lock(&self.leased).clear();
    }

    /// Gives the readers an engine again.
    pub(super) fn recovered(&self, engine: Arc<Engine>) {
        self.set_engine(Ok(engine));
        self.queues.ring_all();
        self.arrivals.ring_all();
        self.directories.ring_all();
    }

    /// As [`Shared::fail`], for good.
    pub(super) fn close(&self) {
        self.set_engine(Err(StoreError::Closing));
        lock(&self.leased).clear();
        self.queues.ring_all();
        self.arrivals.ring_all();
        self.directories.ring_all();
    }

    pub(super) fn arrived(&self, sources: HashMap<SourceHash, SourceId>) {
        self.arrivals.ring(sources.keys());
        self.unplanned.mark(sources.into_values());
    }

    pub(super) fn leases_begun(&self, taken: &[Taking]) {
        let begun = taken.iter().map(|taking| (taking.action, taking.attempt));
        lock(&self.leased).extend(begun);
    }

    pub(super) fn leases_ended(&self, ended: &[ActionId]) {
        let mut leased = lock(&self.leased);
        for action in ended {
            leased.remove(action);
        }
    }

    /// The leased actions of an event, and which attempt each is.
    pub(super) fn leased(&self, event: EventId) -> BTreeMap<ActionId, u32> {
        let first = ActionId { event, run: 0, index: 0 };
        let last = ActionId { event, run: u16::MAX, index: u16::MAX };
        let leased = lock(&self.leased);
        leased.range(first..=last).map(|(action, attempt)| (*action, *attempt)).collect()
    }

    /// The writer ends them at its next group.
    pub(super) fn release(&self, tokens: impl Iterator<Item = LeaseToken>) {
        lock(&self.released).extend(tokens);
    }

    pub(super) fn take_released(&self) -> Vec<LeaseToken> {
        std::mem::take(&mut *lock(&self.released))
    }
}
