//! Which revisions of sources are recorded. What they say is `revision`'s.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::core::PartialObjectMeta;

use super::Shelf;
use crate::{dirty::Dirty, lock::lock, name::Name};

/// The label of our revisions, and its value.
pub(crate) const MANAGED_BY: (&str, &str) =
    ("app.kubernetes.io/managed-by", "segment-source-operator");

/// One recorded revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Name of the ControllerRevision.
    pub(crate) name: String,
    /// The source's generation that it is of.
    pub(crate) generation: i64,
}

/// The revisions of the watched namespaces. When one goes, its source is looked at again.
#[derive(Debug)]
pub(crate) struct Revisions {
    owners: Mutex<HashMap<Name, Owner>>,
    dirty: Arc<Dirty>,
}

/// Whose a revision is.
#[derive(Debug)]
struct Owner {
    source: Name,
    uid: String,
    generation: i64,
}

impl Revisions {
    pub(crate) fn new(dirty: Arc<Dirty>) -> Self {
        Self { owners: Mutex::default(), dirty }
    }

    /// The revisions of a source, oldest first, found by the way they are named.
    pub(crate) fn of(&self, source: &Name, uid: &str) -> Vec<Revision> {
        let owners = lock(&self.owners);
        let mut found = BTreeMap::new();
        for (name, owner) in owners.iter().filter(|(_, it)| it.uid == uid && it.source == *source) {
            found.insert(owner.generation, name.name.clone());
        }
        found.into_iter().map(|(generation, name)| Revision { name, generation }).collect()
    }
}

impl Shelf<PartialObjectMeta<ControllerRevision>> for Revisions {
    const KIND: &'static str = "controllerrevisions";

    fn put(&self, object: PartialObjectMeta<ControllerRevision>) {
        let name = Name::of(&object.metadata);
        let generation = name.name.rsplit_once("-g").and_then(|(_, it)| it.parse().ok());
        let owner = object.metadata.owner_references.into_iter().flatten().next();
        let (Some(generation), Some(owner)) = (generation, owner) else { return };
        let source = Name::new(name.namespace.clone(), owner.name);
        lock(&self.owners).insert(name, Owner { source, uid: owner.uid, generation });
    }

    fn remove(&self, name: &Name) {
        if let Some(owner) = lock(&self.owners).remove(name) {
            self.dirty.mark([owner.source]);
        }
    }

    fn names(&self) -> Vec<Name> {
        lock(&self.owners).keys().cloned().collect()
    }
}
