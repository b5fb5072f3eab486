//! What the store's handles, its readers and the writer thread share.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
};

use segment_source_core::{
    event::{ActionId, EventId},
    source::{SourceHash, SourceId},
};
use tokio::sync::Notify;

use super::{engine::Engine, keys::QueueKey, take::Taking};
use crate::{
    bells::Bells,
    contract::{Clock, LeaseToken, StoreError},
    fault::Fault,
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
    /// Rung when [`Shared::unplanned`] got one.
    pub(super) unplanned_bell: Notify,
    unplanned: Mutex<HashSet<SourceId>>,
    engine: RwLock<Result<Arc<Engine>, StoreError>>,
    /// Actions somebody has, and which attempt it is.
    leased: Mutex<BTreeMap<ActionId, u32>>,
    released: Mutex<Vec<LeaseToken>>,
    /// Grows before and after what is done may become owed again.
    pub(super) reopened: AtomicU64,
    /// Where the next step of removing begins, of logs that need several.
    pub(super) retaining: Mutex<HashMap<SourceHash, EventId>>,
    /// As `retaining`, of queues.
    pub(super) expiring: Mutex<HashMap<QueueKey, Vec<u8>>>,
}

impl Shared {
    pub(super) fn new(
        engine: Arc<Engine>,
        clock: Clock,
        lease_clock: Clock,
        unplanned: HashSet<SourceId>,
    ) -> Self {
        let unplanned_bell = Notify::new();
        if !unplanned.is_empty() {
            unplanned_bell.notify_one();
        }
        Self {
            dir: engine.dir().to_owned(),
            clock,
            lease_clock,
            queues: Bells::default(),
            arrivals: Bells::default(),
            directories: Bells::default(),
            unplanned_bell,
            unplanned: Mutex::new(unplanned),
            engine: RwLock::new(Ok(engine)),
            leased: Mutex::default(),
            released: Mutex::default(),
            reopened: AtomicU64::new(0),
            retaining: Mutex::default(),
            expiring: Mutex::default(),
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
        if sources.is_empty() {
            return;
        }
        self.arrivals.ring(sources.keys());
        lock(&self.unplanned).extend(sources.into_values());
        self.unplanned_bell.notify_one();
    }

    pub(super) fn mark_unplanned(&self, source: &SourceId) {
        lock(&self.unplanned).insert(source.clone());
        self.unplanned_bell.notify_one();
    }

    pub(super) fn take_unplanned(&self) -> Vec<SourceId> {
        lock(&self.unplanned).drain().collect()
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

/// Notes where the next step begins, or that there is none.
pub(super) fn resume<K: Eq + Hash, V>(steps: &Mutex<HashMap<K, V>>, of: K, at: Option<V>) {
    match at {
        Some(at) => lock(steps).insert(of, at),
        None => lock(steps).remove(&of),
    };
}

/// Where the next step begins, if it is not the first.
pub(super) fn resumed<K: Eq + Hash, V: Clone>(steps: &Mutex<HashMap<K, V>>, of: &K) -> Option<V> {
    lock(steps).get(of).cloned()
}

/// Nothing panics while it holds one of these for longer than a statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
