//! What is in the cluster, kept up to date in memory: sources whole, Secrets and revisions by
//! metadata only. Every scope (a namespace, or all) has its own watch; one that fails is begun
//! again and stops no other.

mod revisions;
mod secrets;
mod sources;

use std::{collections::HashSet, fmt, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Secret};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tracing::{debug, warn};

pub(crate) use self::{
    revisions::{MANAGED_BY, Revisions, revision_name},
    secrets::Secrets,
    sources::{Source, Sources, reference},
};
use crate::{metrics::ApiErrors, name::Name};

/// Which objects are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of every namespace.
    All,
    /// Those of one.
    Namespace(String),
}

impl Scope {
    pub(crate) fn contains(&self, name: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => *namespace == name.namespace,
        }
    }

    /// The objects of one kind in it.
    pub(crate) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all namespaces"),
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
        }
    }
}

/// Where objects of a kind are kept.
pub(crate) trait Shelf<K> {
    /// What the kind is called in logs and metrics.
    const KIND: &'static str;
    /// It is there, in this form.
    fn put(&self, object: K);
    /// It is gone.
    fn remove(&self, name: &Name);
    /// The names of what is kept.
    fn names(&self) -> Vec<Name>;
}

/// How many first lists are still owed.
#[derive(Clone, Debug)]
pub(crate) struct Owed(Arc<watch::Sender<usize>>);

impl Owed {
    pub(crate) fn new(lists: usize) -> Self {
        Self(Arc::new(watch::Sender::new(lists)))
    }

    fn paid(&self) {
        self.0.send_modify(|owed| *owed = owed.saturating_sub(1));
    }

    /// Waits until everything was listed once.
    pub(crate) async fn all_paid(&self) {
        // The sender is held, so there always is one.
        let _ = self.0.subscribe().wait_for(|owed| *owed == 0).await;
    }
}

/// Everything that is kept of the cluster.
#[derive(Clone)]
pub(crate) struct Shelves {
    pub(crate) sources: Arc<Sources>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) revisions: Arc<Revisions>,
}

impl Shelves {
    /// First lists that each scope owes.
    pub(crate) const LISTS: usize = 3;

    /// Keeps all of them up to date with one scope, for ever.
    pub(crate) async fn follow(self, client: Client, scope: Scope, owed: Owed, errors: ApiErrors) {
        let all = watcher::Config::default;
        let (label, value) = MANAGED_BY;
        let ours = all().labels(&format!("{label}={value}"));
        let sources = watcher(scope.api::<Source>(&client), all());
        let secrets = watcher(scope.api::<PartialObjectMeta<Secret>>(&client), all());
        let revisions = watcher(scope.api::<PartialObjectMeta<ControllerRevision>>(&client), ours);
        tokio::join!(
            follow(sources, &scope, &*self.sources, &owed, &errors),
            follow(secrets, &scope, &*self.secrets, &owed, &errors),
            follow(revisions, &scope, &*self.revisions, &owed, &errors),
        );
    }
}

/// Keeps a shelf up to date with one scope, for ever. Does IO, and never fails: whatever goes
/// wrong is tried again, with growing pauses.
async fn follow<K, S>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    scope: &Scope,
    shelf: &S,
    owed: &Owed,
    errors: &ApiErrors,
) where
    K: Resource,
    S: Shelf<K>,
{
    let mut events = Box::pin(events.default_backoff());
    let mut present = HashSet::new();
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object)) => shelf.put(object),
            Ok(Event::Delete(object)) => shelf.remove(&Name::of(object.meta())),
            Ok(Event::Init) => present.clear(),
            Ok(Event::InitApply(object)) => {
                present.insert(Name::of(object.meta()));
                shelf.put(object);
            }
            Ok(Event::InitDone) => {
                let kept = shelf.names().into_iter().filter(|name| scope.contains(name));
                for name in kept.filter(|name| !present.contains(name)) {
                    shelf.remove(&name);
                }
                debug!(kind = S::KIND, %scope, objects = present.len(), "listed");
                present = HashSet::new();
                if !listed {
                    listed = true;
                    owed.paid();
                }
            }
            Err(error) => {
                errors.count(S::KIND);
                warn!("cannot watch {} of {scope}, trying again: {error}", S::KIND);
            }
        }
    }
}
