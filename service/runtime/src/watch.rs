//! Tells that something may have changed in a folder. It may tell too often and, rarely, not at
//! all; whoever listens reads the folder again from time to time anyway.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::warn;

/// Watches a folder and its place in its parent, as the folder itself may be a link that is
/// replaced, or be made later.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// Whether the folder itself is watched.
    attached: bool,
    changed: Arc<Notify>,
}

impl Watch {
    /// Starts watching. When the system refuses, that is logged and the folder is only read from
    /// time to time.
    pub fn new(folder: &Path) -> Self {
        // A relative path has no parent to watch.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let changed = Arc::new(Notify::new());
        let (told, watched) = (changed.clone(), folder.clone());
        let handle = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| matters(&event, &watched)) {
                told.notify_one();
            }
        };
        let mut watch = Self { folder, watcher: None, attached: false, changed };
        match notify::recommended_watcher(handle) {
            Ok(mut watcher) => {
                if let Some(parent) = watch.folder.parent() {
                    // Not being allowed to is common and no loss.
                    let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
                }
                watch.watcher = Some(watcher);
                watch.attach();
            }
            Err(error) => watch.warn(&error),
        }
        watch
    }

    /// Watches the folder that is at the path now.
    pub fn attach(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        if self.attached {
            // Fails when the folder is gone, and the watch with it.
            let _ = watcher.unwatch(&self.folder);
        }
        match watcher.watch(&self.folder, RecursiveMode::NonRecursive) {
            Ok(()) => self.attached = true,
            Err(error) => {
                if self.attached || self.folder.exists() {
                    self.warn(&error);
                }
                self.attached = false;
            }
        }
    }

    fn warn(&self, error: &notify::Error) {
        let folder = self.folder.display();
        warn!("cannot watch {folder}: {error}; changes are seen only when it is read again");
    }

    /// Waits until something may have changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Reading the files causes events as well, and the parent has other children.
fn matters(event: &Event, folder: &Path) -> bool {
    let ours = |path: &PathBuf| path == folder || path.parent() == Some(folder);
    !matches!(event.kind, EventKind::Access(_))
        && (event.paths.is_empty() || event.paths.iter().any(ours))
}
