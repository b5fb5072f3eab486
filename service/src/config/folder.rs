//! Follows a folder: reads it when it changes, and from time to time in case a change was missed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use segment_source_core::source::SourceId;
use segment_source_runtime::watch::Watch;
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
                let (in_use, removed) = difference(current, &snapshot);
                if !in_use.is_empty() || !removed.is_empty() {
                    info!(in_use, removed, "configuration changed");
                }
                *current = Arc::new(snapshot);
            }
            changed
        });
    }
}

/// Names of the sources whose configuration is another one now, and of those that are gone.
fn difference(before: &Snapshot, now: &Snapshot) -> (String, String) {
    let loaded = |state: Option<&State>| matches!(state, Some(State::Loaded(_)));
    let (old, new) = (&before.sources, &now.sources);
    let taken = new.iter().filter(|(id, state)| loaded(Some(state)) && old.get(id) != Some(state));
    let removed = old.iter().filter(|(id, state)| loaded(Some(state)) && !loaded(new.get(id)));
    (names(taken.map(|(id, _)| id)), names(removed.map(|(id, _)| id)))
}

/// A few names; how many more.
fn names<'a>(mut ids: impl Iterator<Item = &'a SourceId>) -> String {
    let first: Vec<&str> = ids.by_ref().take(5).map(SourceId::as_str).collect();
    match ids.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use segment_source_proto::config::v1 as wire;

    use super::{Snapshot, State, difference};

    fn snapshot(sources: &[(&str, State)]) -> Snapshot {
        let sources = sources.iter().map(|(id, state)| (id.parse().unwrap(), state.clone()));
        Snapshot {
            version: 0,
            read: true,
            synced: true,
            unread: [].into(),
            sources: sources.collect(),
        }
    }

    fn loaded(generation: i64) -> State {
        State::Loaded(Arc::new(wire::Source { generation, ..Default::default() }))
    }

    #[test]
    fn a_change_is_told_by_the_names_of_its_sources() {
        let broken = State::NotLoaded { reason: "wrong".into() };
        let before = snapshot(&[
            ("a/same", loaded(1)),
            ("a/edited", loaded(1)),
            ("a/removed", loaded(1)),
            ("a/gone-for-good", State::RecentlyRemoved),
            ("a/mended", broken.clone()),
        ]);
        let now = snapshot(&[
            ("a/same", loaded(1)),
            ("a/edited", loaded(2)),
            ("a/removed", State::RecentlyRemoved),
            ("a/mended", loaded(1)),
            ("a/broken", broken),
        ]);
        let told = |in_use: &str, removed: &str| (in_use.to_owned(), removed.to_owned());
        assert_eq!(difference(&before, &now), told("a/edited, a/mended", "a/removed"));
        assert_eq!(difference(&now, &now), told("", ""));
        let names: Vec<String> = (0..7).map(|n| format!("a/{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), loaded(1))).collect();
        assert_eq!(
            difference(&Snapshot::default(), &snapshot(&many)),
            told("a/0, a/1, a/2, a/3, a/4 and 2 more", "")
        );
    }
}
