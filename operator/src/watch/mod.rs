//! What is in the cluster, kept up to date in memory: sources whole, Secrets and revisions by
//! metadata only. Every scope (a namespace, or all) has its own watch; one that fails is begun
//! again and stops no other.

mod follow;
mod reading;
mod revisions;
mod secrets;
mod sources;

use std::{fmt, sync::Arc};

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Secret};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::watcher::{self, watcher},
};

use self::follow::follow;
pub(crate) use self::{
    reading::Reading,
    revisions::{MANAGED_BY, Revisions, revision_name},
    secrets::Secrets,
    sources::{Source, Sources, Unreadable, read_spec, reference},
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
    pub(crate) async fn follow(
        self,
        client: Client,
        scope: Scope,
        reading: Reading,
        errors: ApiErrors,
    ) {
        let all = watcher::Config::default;
        let (label, value) = MANAGED_BY;
        let ours = all().labels(&format!("{label}={value}"));
        let sources = watcher(scope.api::<Source>(&client), all());
        let secrets = watcher(scope.api::<PartialObjectMeta<Secret>>(&client), all());
        let revisions = watcher(scope.api::<PartialObjectMeta<ControllerRevision>>(&client), ours);
        tokio::join!(
            follow(sources, &scope, &*self.sources, &reading, &errors),
            follow(secrets, &scope, &*self.secrets, &reading, &errors),
            follow(revisions, &scope, &*self.revisions, &reading, &errors),
        );
    }
}
