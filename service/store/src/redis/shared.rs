//! What the handles of a store and its background tasks share.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use segment_source_core::{event::EventId, source::SourceHash};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{PARTITIONS, check::Health, connect::Connection, partition, script::Scripts};
use crate::{
    bells::Bells,
    contract::{Clock, LeaseToken, Millis, StoreError},
    fingerprint::Fingerprints,
    memory::{Steps, ToPlan, lock},
};

pub(super) struct Shared {
    /// What all keys begin with.
    pub(super) name: String,
    pub(super) connection: Connection,
    pub(super) scripts: Scripts,
    pub(super) fingerprints: Fingerprints,
    /// Instead of Redis's: for tests.
    pub(super) clock: Option<Clock>,
    /// This process: its replica's hash, and 8 random bytes.
    pub(super) holder: [u8; 16],
    /// Rung when a head became ready or delayed, or a lease ended.
    pub(super) queues: Bells<[u8; 16]>,
    /// Rung when a source got entries.
    pub(super) arrivals: Bells<SourceHash>,
    /// Rung when a source's directory changed.
    pub(super) directories: Bells<SourceHash>,
    pub(super) unplanned: ToPlan,
    /// Of each partition.
    unseen: [Unseen; PARTITIONS as usize],
    /// Until when each partition is known to be owned; `None`: it is not.
    owned: Mutex<[Option<Instant>; PARTITIONS as usize]>,
    /// Tokens to be released. Held while they are sent, so that a take sees them gone.
    pub(super) released: tokio::sync::Mutex<()>,
    to_release: Mutex<Vec<LeaseToken>>,
    pub(super) release_bell: Notify,
    /// What planning needs of the events of each source that were read last to be planned.
    pub(super) origins: Mutex<HashMap<SourceHash, HashMap<EventId, Origin>>>,
    /// Where the next step of removing begins, of logs that need several.
    pub(super) retaining: Steps<SourceHash, Vec<u8>>,
    /// As `retaining`, of queues.
    pub(super) expiring: Steps<[u8; 16], Vec<u8>>,
    /// Redis's clock less the system's.
    ahead: AtomicI64,
    /// Whether there is room, where somebody looks.
    health: Option<watch::Receiver<Health>>,
    pub(super) closed: AtomicBool,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Whether there may be events to plan that nobody told of. A look that fails or is given up leaves it so.
#[derive(Default)]
struct Unseen {
    /// Counts occasions.
    wanted: AtomicU64,
    /// As many of them as had been when the last look that succeeded began.
    looked: AtomicU64,
}

/// What an event's actions have from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) order_key: Option<String>,
    pub(super) event_type: String,
    pub(super) timestamp: String,
}

impl Shared {
    pub(super) fn new(
        name: String,
        connection: Connection,
        fingerprints: Fingerprints,
        clock: Option<Clock>,
        holder: [u8; 16],
        health: Option<watch::Receiver<Health>>,
    ) -> Self {
        Self {
            name,
            connection,
            scripts: Scripts::default(),
            fingerprints,
            clock,
            holder,
            queues: Bells::default(),
            arrivals: Bells::default(),
            directories: Bells::default(),
            unplanned: ToPlan::default(),
            unseen: Default::default(),
            owned: Mutex::default(),
            released: tokio::sync::Mutex::default(),
            to_release: Mutex::default(),
            release_bell: Notify::new(),
            origins: Mutex::default(),
            retaining: Steps::default(),
            expiring: Steps::default(),
            ahead: AtomicI64::new(0),
            health,
            closed: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(super) fn open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) { Err(StoreError::Closing) } else { Ok(()) }
    }

    /// What the keys of a partition begin with; the braces keep them together in a cluster.
    pub(super) fn prefix(&self, partition: u64) -> Vec<u8> {
        format!("{}{{p{partition:02}}}:", self.name).into_bytes()
    }

    pub(super) fn now(&self) -> Millis {
        match &self.clock {
            Some(clock) => clock(),
            None => system_now().saturating_add_signed(self.ahead.load(Ordering::Relaxed)),
        }
    }

    /// Redis's clock says this.
    pub(super) fn heard_time(&self, now: Millis) {
        let ahead = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub_unsigned(system_now());
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// When nothing more may be accepted: bytes that are free, and bytes that are kept.
    pub(super) fn full(&self) -> Option<(u64, u64)> {
        self.health.as_ref()?.borrow().full()
    }

    pub(super) fn owns(&self, source: SourceHash) -> bool {
        self.owns_partition(partition(source))
    }

    pub(super) fn owns_partition(&self, partition: u64) -> bool {
        let owned = lock(&self.owned);
        let until = usize::try_from(partition).ok().and_then(|at| owned.get(at).copied().flatten());
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it was another's until now. `None`: it is another's.
    pub(super) fn set_owned(&self, partition: u64, time: Option<Duration>) -> bool {
        let mut owned = lock(&self.owned);
        let place = usize::try_from(partition).ok().and_then(|at| owned.get_mut(at));
        let Some(place) = place else { return false };
        let before = place.is_some_and(|until| Instant::now() < until);
        *place = time.map(|time| Instant::now() + time);
        time.is_some() && !before
    }

    /// A partition may have events to plan that nobody told of.
    pub(super) fn may_be_unseen(&self, partition: u64) {
        if let Some(unseen) = self.unseen(partition) {
            unseen.wanted.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What a look that is to be made now sees, if one is to be made.
    pub(super) fn to_look(&self, partition: u64) -> Option<u64> {
        let unseen = self.unseen(partition)?;
        let wanted = unseen.wanted.load(Ordering::SeqCst);
        (unseen.looked.load(Ordering::SeqCst) < wanted).then_some(wanted)
    }

    /// A look succeeded.
    pub(super) fn looked(&self, partition: u64, saw: u64) {
        if let Some(unseen) = self.unseen(partition) {
            unseen.looked.fetch_max(saw, Ordering::SeqCst);
        }
    }

    fn unseen(&self, partition: u64) -> Option<&Unseen> {
        self.unseen.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn release(&self, tokens: impl IntoIterator<Item = LeaseToken>) {
        lock(&self.to_release).extend(tokens);
        self.release_bell.notify_one();
    }

    pub(super) fn take_released(&self) -> Vec<LeaseToken> {
        std::mem::take(&mut *lock(&self.to_release))
    }

    pub(super) fn ring_all(&self) {
        self.queues.ring_all();
        self.arrivals.ring_all();
        self.directories.ring_all();
    }
}

fn system_now() -> Millis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Millis::try_from(now.unwrap_or_default().as_millis()).unwrap_or(Millis::MAX)
}
