//! Follows a folder: reads it when it changes, and from time to time in case a change was missed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use segment_source_store::Clock;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Finding, Snapshot, State,
    files::{self, Listing, Look},
    findings::log_changes,
    keeper::{Keeper, Pass},
    memory::Memory,
    watch::Watch,
};

/// A folder that never rests is taken as it is after this many looks.
const MAX_LOOKS: u32 = 20;

/// Where a folder is and how it is followed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of manifests.
    pub folder: PathBuf,
    /// Where the names of sources outlive a restart.
    pub cache: PathBuf,
    /// How long the files must stay the same before they are believed: writing one takes several
    /// steps, and in between it may be empty or end early.
    pub settle: Duration,
    /// How often to read the folder without being told.
    pub reread: Duration,
}

impl Settings {
    /// With the usual times: 50 ms and 15 s.
    #[must_use]
    pub fn new(folder: &Path, cache: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            cache: cache.to_owned(),
            settle: Duration::from_millis(50),
            reread: Duration::from_secs(15),
        }
    }
}

/// A folder that was read once and can be followed.
pub struct Folder {
    settings: Settings,
    clock: Clock,
    watch: Watch,
    /// Fingerprint of the newest look.
    seen: u64,
    inner: Inner,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// What is known of the folder.
struct Inner {
    keeper: Keeper,
    memory: Memory,
    findings: Vec<Finding>,
}

impl Folder {
    /// Reads the folder. What is wrong with it is logged and no error: it may get right later.
    #[must_use]
    pub fn open(settings: Settings, clock: Clock) -> Self {
        // Watched before it is read: nothing can happen in between.
        let watch = Watch::new(&settings.folder);
        let mut memory = Memory::new(&settings.cache);
        let keeper = Keeper::remembering(memory.load());
        let mut inner = Inner { keeper, memory, findings: Vec::new() };
        let Look { listing, fingerprint: seen } = files::look(&settings.folder);
        let snapshot = inner.take(listing, &clock);
        let loaded = |state: &&State| matches!(state, State::Loaded(_));
        info!(
            folder = %settings.folder.display(),
            sources = snapshot.sources.values().filter(loaded).count(),
            "configuration read"
        );
        let (snapshots, _) = watch::channel(Arc::new(snapshot));
        Self { settings, clock, watch, seen, inner, snapshots }
    }

    /// What is known now, and whenever it changes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Follows the folder until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut reread = time::interval(self.settings.reread);
        reread.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.watch.changed() => {}
                _ = reread.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                following = self.follow() => match following {
                    Some(next) => self = next,
                    // Only when the runtime ends, or after a panic that was reported.
                    None => return,
                }
            }
        }
    }

    /// Takes in the folder once it stays the same, or as it is when it does not for long.
    async fn follow(mut self) -> Option<Self> {
        for look in 1.. {
            let found;
            (self, found) = blocking(self, |folder| {
                // The folder at this path may be another one now.
                folder.watch.attach();
                files::look(&folder.settings.folder)
            })
            .await?;
            let Look { listing, fingerprint: now } = found;
            if now == std::mem::replace(&mut self.seen, now) || look == MAX_LOOKS {
                let snapshot;
                (self, snapshot) = blocking(self, |it| it.inner.take(listing, &it.clock)).await?;
                self.publish(snapshot);
                break;
            }
            time::sleep(self.settings.settle).await;
        }
        Some(self)
    }

    fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send_if_modified(|current| {
            let changed = **current != snapshot;
            if changed {
                *current = Arc::new(snapshot);
            }
            changed
        });
    }
}

/// Runs this where waiting for files holds up nothing else.
async fn blocking<T: Send + 'static>(
    mut folder: Folder,
    work: impl FnOnce(&mut Folder) -> T + Send + 'static,
) -> Option<(Folder, T)> {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut folder);
        (folder, result)
    });
    done.await.ok()
}

impl Inner {
    fn take(&mut self, listing: Listing, clock: &Clock) -> Snapshot {
        let Pass { snapshot, findings } = self.keeper.apply(listing, clock());
        log_changes(&self.findings, &findings);
        self.findings = findings;
        self.memory.save(self.keeper.known());
        snapshot
    }
}
