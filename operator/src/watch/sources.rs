//! SegmentSources as they are stored, also those that cannot be read as one.

use std::sync::{Arc, Mutex};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use segment_source_crds::SegmentSource;

use super::Shelf;
use crate::{dirty::Dirty, lock::lock, name::Name, table::Table};

/// A stored SegmentSource; reading one that is malformed does not fail, so that it stalls nothing.
pub(crate) type Source = DeserializeGuard<SegmentSource>;

/// All SegmentSources of the watched namespaces.
pub(crate) struct Sources {
    store: Store<Source>,
    writer: Mutex<Writer<Source>>,
    table: Arc<Table>,
    dirty: Arc<Dirty>,
    removed: Box<dyn Fn(&Name) + Send + Sync>,
}

impl Sources {
    /// `removed` is called with every source that is gone.
    pub(crate) fn new(
        table: Arc<Table>,
        dirty: Arc<Dirty>,
        removed: impl Fn(&Name) + Send + Sync + 'static,
    ) -> Self {
        let mut writer = Writer::default();
        // Readers of the store wait for a list; ours wait for all lists before they read.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let store = writer.as_reader();
        Self { store, writer: Mutex::new(writer), table, dirty, removed: Box::new(removed) }
    }

    /// Where the controller finds them.
    pub(crate) fn store(&self) -> Store<Source> {
        self.store.clone()
    }

    /// One of them.
    pub(crate) fn get(&self, name: &Name) -> Option<Arc<Source>> {
        self.store.get(&reference(name))
    }
}

/// How the controller names a source.
pub(crate) fn reference(name: &Name) -> ObjectRef<Source> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// What nobody reads is not kept.
fn strip(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = None;
    metadata.labels = None;
    metadata.owner_references = None;
}

impl Shelf<Source> for Sources {
    const KIND: &'static str = "segmentsources";

    fn put(&self, mut object: Source) {
        strip(object.meta_mut());
        let name = Name::of(object.meta());
        let version = |source: &Source| source.meta().resource_version.clone();
        if self.get(&name).is_some_and(|kept| version(&kept) == version(&object)) {
            return;
        }
        lock(&self.writer).apply_watcher_event(&Event::Apply(object));
        if name.is_of_a_source() {
            self.table.exists(&name);
        }
        self.dirty.mark([name]);
    }

    fn remove(&self, name: &Name) {
        let Some(object) = self.get(name) else { return };
        lock(&self.writer).apply_watcher_event(&Event::Delete(Source::clone(&object)));
        self.table.remove(name);
        (self.removed)(name);
    }

    fn names(&self) -> Vec<Name> {
        self.store.state().iter().map(|source| Name::of(source.meta())).collect()
    }
}
