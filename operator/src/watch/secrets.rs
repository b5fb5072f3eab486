//! Which Secrets there are, in which version. Their values are `dereference`'s.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;

use super::Shelf;
use crate::{dirty::Dirty, index::Index, lock::lock, name::Name};

/// The Secrets of the watched namespaces. Sources that name one which changes are looked at again.
#[derive(Debug)]
pub(crate) struct Secrets {
    versions: Mutex<HashMap<Name, Arc<str>>>,
    index: Arc<Index>,
    dirty: Arc<Dirty>,
}

impl Secrets {
    pub(crate) fn new(index: Arc<Index>, dirty: Arc<Dirty>) -> Self {
        Self { versions: Mutex::default(), index, dirty }
    }

    /// Its resourceVersion; `None` when there is no such Secret.
    pub(crate) fn version(&self, name: &Name) -> Option<Arc<str>> {
        lock(&self.versions).get(name).cloned()
    }
}

impl Shelf<PartialObjectMeta<Secret>> for Secrets {
    const KIND: &'static str = "secrets";

    fn put(&self, object: PartialObjectMeta<Secret>) {
        let name = Name::of(&object.metadata);
        let version: Arc<str> = object.metadata.resource_version.unwrap_or_default().into();
        let before = lock(&self.versions).insert(name.clone(), version.clone());
        if before != Some(version) {
            self.dirty.mark(self.index.sources(&name));
        }
    }

    fn remove(&self, name: &Name) {
        if lock(&self.versions).remove(name).is_some() {
            self.dirty.mark(self.index.sources(name));
        }
    }

    fn names(&self) -> Vec<Name> {
        lock(&self.versions).keys().cloned().collect()
    }
}
