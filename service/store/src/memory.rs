//! What every engine remembers between calls, in memory only: sources that got entries, and where steps
//! go on.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use segment_source_core::source::SourceId;
use tokio::sync::Notify;

/// Sources that have entries to be planned, each once.
#[derive(Default)]
pub(crate) struct ToPlan {
    sources: Mutex<HashSet<SourceId>>,
    bell: Notify,
}

impl ToPlan {
    pub(crate) fn mark(&self, sources: impl IntoIterator<Item = SourceId>) {
        let mut marked = lock(&self.sources);
        marked.extend(sources);
        if !marked.is_empty() {
            self.bell.notify_one();
        }
    }

    /// Waits until there is one.
    pub(crate) async fn take(&self) -> Vec<SourceId> {
        loop {
            let sources: Vec<_> = lock(&self.sources).drain().collect();
            if !sources.is_empty() {
                return sources;
            }
            self.bell.notified().await;
        }
    }
}

/// Where the next of several steps begins, of each that needs several.
pub(crate) struct Steps<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Steps<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Steps<K, V> {
    /// `None`: it is the first.
    pub(crate) fn next(&self, of: &K) -> Option<V> {
        lock(&self.0).get(of).cloned()
    }

    /// `None`: there are no more.
    pub(crate) fn go_on(&self, of: K, at: Option<V>) {
        match at {
            Some(at) => lock(&self.0).insert(of, at),
            None => lock(&self.0).remove(&of),
        };
    }
}

/// Nothing panics while it holds one of these for longer than a statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
