//! The current state of every source, in versions, and what every connected replica has of it. No
//! IO: what is published comes from `reconcile`, what is answered goes out through `serve`.
//!
//! There is one state a source, and no queue: a replica that falls behind gets the newest state of
//! each source it missed, in the order in which they changed, whenever it comes round to it.

mod replica;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use segment_source_proto::config::v1::{Source, WatchResponse};
use tokio::sync::watch;

use self::state::State;
use crate::{dirty::Dirty, lock::lock, name::Name};

pub(crate) use self::replica::{Hello, Roles, Stale};

/// Everything that replicas are to know.
#[derive(Debug)]
pub(crate) struct Table {
    state: Mutex<State>,
    /// The newest version; wakes the replicas' streams.
    changed: watch::Sender<u64>,
    /// Whether all sources there are have a name here.
    listed: watch::Sender<bool>,
    /// Sources whose progress changed are looked at again.
    dirty: Arc<Dirty>,
}

/// What a source is to replicas.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// Its last good configuration.
    Loaded(Box<Source>),
    /// It was never right, for this reason.
    NotLoaded(Arc<str>),
}

/// What publishing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// There is a new version.
    pub(crate) changed: bool,
    /// It has the generation of the version before, and other secret values.
    pub(crate) rotated: bool,
}

/// How far the connected replicas are with a generation of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is no replica.
    NoReplicas,
    /// Some have not answered.
    Pending,
    /// Some cannot use it; the first of them, and its words.
    Refused { replica: String, reason: String },
    /// All have it in service.
    Programmed,
}

/// Numbers of the connected replicas, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// By their roles: `edge`, `ingest` or `edge+ingest`.
    pub(crate) replicas: BTreeMap<&'static str, i64>,
    /// How many versions the one that is furthest behind has not answered.
    pub(crate) lag: u64,
    /// Refusals that stand.
    pub(crate) refusals: usize,
    /// Namespaces that are to be watched and cannot be read.
    pub(crate) unread: usize,
}

impl Table {
    pub(crate) fn new(dirty: Arc<Dirty>) -> Self {
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        Self { state, changed, listed: watch::Sender::new(false), dirty }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The source exists, as the object with this uid. When it was another one, that is gone.
    pub(crate) fn exists(&self, name: &Name, uid: &str) {
        let mut state = self.lock();
        if state.exists(name, uid) {
            self.changed.send_replace(state.version());
        }
    }

    /// The source is gone.
    pub(crate) fn remove(&self, name: &Name) {
        let mut state = self.lock();
        if state.remove(name) {
            self.changed.send_replace(state.version());
        }
    }

    /// Every source there is has been named.
    pub(crate) fn all_listed(&self) {
        self.listed.send_replace(true);
    }

    /// Whether every source there is has been named.
    pub(crate) fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Nobody can say what is in this namespace: nothing is told of it, and replicas are told that
    /// nothing is. To be said before anything is published.
    pub(crate) fn cannot_read(&self, namespace: &str) {
        self.lock().cannot_read(namespace);
    }

    /// Every source of the namespace has been named after all: replicas connect again, to be told
    /// which those are. Whether that is news.
    pub(crate) fn has_read(&self, namespace: &str) -> bool {
        let mut state = self.lock();
        let news = state.has_read(namespace);
        if news {
            // No new version, but replicas must look.
            self.changed.send_replace(state.version());
        }
        news
    }

    /// Whether nobody can say what is in this namespace.
    pub(crate) fn is_unread(&self, namespace: &str) -> bool {
        self.lock().is_unread(namespace)
    }

    /// Says what a source is now, which is the object with this uid. What is wrong never replaces
    /// what was good. A source that is gone stays gone.
    pub(crate) fn publish(&self, name: &Name, uid: &str, held: &Held) -> Published {
        let mut state = self.lock();
        let published = state.publish(name, uid, held);
        if published.changed {
            self.changed.send_replace(state.version());
        }
        published
    }

    /// Whether anything can be said of the source.
    pub(crate) fn is_known(&self, name: &Name) -> bool {
        self.lock().is_known(name)
    }

    /// Whether something can be said of every source.
    pub(crate) fn knows_all(&self) -> bool {
        self.lock().knows_all()
    }

    /// The generation that replicas are told to run.
    pub(crate) fn running(&self, name: &Name) -> Option<i64> {
        self.lock().running(name)
    }

    /// How far replicas are with this generation of a source.
    pub(crate) fn progress(&self, name: &Name, generation: i64) -> Progress {
        self.lock().progress(name, generation)
    }

    /// Whether it was reported that replicas run the source, so that further answers are no news.
    pub(crate) fn settle(&self, name: &Name, settled: bool) {
        self.lock().settle(name, settled);
    }

    /// Numbers of the connected replicas.
    pub(crate) fn numbers(&self) -> Numbers {
        self.lock().numbers()
    }

    /// A replica is connected.
    pub(crate) fn open(self: &Arc<Self>, epoch: u64, hello: Hello) -> Session {
        let id = self.lock().open(hello);
        Session { table: self.clone(), changed: self.changed.subscribe(), id, epoch }
    }
}

/// A connected replica; it is no longer connected when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    table: Arc<Table>,
    changed: watch::Receiver<u64>,
    id: u64,
    epoch: u64,
}

impl Session {
    /// What the replica is to hear next, if there is anything now.
    ///
    /// # Errors
    /// When it cannot go on; it must connect again.
    pub(crate) fn next(&mut self) -> Result<Option<WatchResponse>, Stale> {
        // Whatever changes from here on wakes it.
        self.changed.mark_unchanged();
        self.table.lock().next(self.id, self.epoch)
    }

    /// Waits until there may be more to hear.
    pub(crate) async fn changed(&mut self) {
        // The table is held, so there always is a sender.
        let _ = self.changed.changed().await;
    }

    /// Every version up to this one is in service or refused.
    pub(crate) fn ack(&self, version: u64) {
        let moved = self.table.lock().ack(self.id, version);
        self.table.dirty.mark(moved);
    }

    /// This version cannot be used.
    pub(crate) fn nack(&self, version: u64, name: Name, reason: String) {
        if self.table.lock().nack(self.id, version, &name, reason) {
            self.table.dirty.mark([name]);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let moved = self.table.lock().close(self.id);
        self.table.dirty.mark(moved);
    }
}
