//! SegmentSources as they are stored. They are kept as text, which takes a fifth of the memory of
//! the types, and read when they are looked at; so also what cannot be read as one stalls nothing.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::NamespaceResourceScope,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use segment_source_crds::{SegmentSource, SegmentSourceSpec, SegmentSourceStatus};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Shelf;
use crate::{dirty::Dirty, lock::lock, name::Name, table::Table};

/// A stored SegmentSource.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Source {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "as_text")]
    spec: Box<str>,
    #[serde(default, deserialize_with = "as_text")]
    status: Box<str>,
}

/// Any JSON, as text.
fn as_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    Ok(Value::deserialize(deserializer)?.to_string().into_boxed_str())
}

/// Why a spec cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    /// It says something that this program does not know, and would leave out.
    #[error("this operator does not know {0}")]
    Newer(String),
}

/// By way of a value: messages then do not count columns of a text that nobody has seen.
fn value(text: &str) -> serde_json::Result<Value> {
    if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(text) }
}

/// Reads a spec as a whole, or not at all.
///
/// # Errors
/// When it is none, or has a field that is not known here.
pub(crate) fn read_spec(value: Value) -> Result<SegmentSourceSpec, Unreadable> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| {
        // Of an optional part it says so.
        unknown.push(format!("spec.{}", path.to_string().replace(".?", "")));
    };
    let spec = SegmentSourceSpec::deserialize(serde_ignored::Deserializer::new(value, &mut note))?;
    match unknown.is_empty() {
        true => Ok(spec),
        false => Err(Unreadable::Newer(unknown.join(", "))),
    }
}

impl Source {
    /// As what it should be.
    ///
    /// # Errors
    /// When it is something else, or says more than is known here.
    pub(crate) fn read(&self) -> Result<SegmentSource, Unreadable> {
        let mut source = SegmentSource::new("", read_spec(value(&self.spec)?)?);
        source.metadata = self.metadata.clone();
        Ok(source)
    }

    /// What was said about it, if that can be read.
    pub(crate) fn status(&self) -> Option<SegmentSourceStatus> {
        serde_json::from_value(value(&self.status).ok()?).ok()
    }
}

impl Resource for Source {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        SegmentSource::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        SegmentSource::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        SegmentSource::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        SegmentSource::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

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

    /// Has everybody forget a source that is gone.
    pub(crate) fn forget(&self, name: &Name) {
        (self.removed)(name);
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
        let uid = object.meta().uid.clone().unwrap_or_default();
        lock(&self.writer).apply_watcher_event(&Event::Apply(object));
        if name.is_of_a_source() {
            self.table.exists(&name, &uid);
        }
        self.dirty.mark([name]);
    }

    fn remove(&self, name: &Name) {
        let Some(object) = self.get(name) else { return };
        lock(&self.writer).apply_watcher_event(&Event::Delete(Source::clone(&object)));
        self.table.remove(name);
        self.forget(name);
    }

    fn names(&self) -> Vec<Name> {
        self.store.state().iter().map(|source| Name::of(source.meta())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Source;

    fn source(spec: &serde_json::Value) -> Source {
        let metadata = json!({"namespace": "prod", "name": "web", "generation": 3});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": 7})).unwrap()
    }

    #[test]
    fn what_a_newer_definition_lets_in_is_not_left_out_in_silence() {
        let verification = json!({"mode": "Observe", "later": {"x": 1}});
        let error = source(&json!({"verification": verification, "also": []})).read().unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("this operator does not know spec."), "{error}");
        for field in ["spec.verification.later", "spec.also"] {
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn whatever_is_stored_is_kept_and_read_later() {
        let read = source(&json!({"verification": {"mode": "Observe"}})).read().unwrap();
        assert_eq!(read.metadata.generation, Some(3));
        assert!(read.spec.mappings.is_empty());
        assert_eq!(source(&json!({})).status(), None);
        for (spec, expected) in [
            (json!({"verification": "nonsense"}), "invalid type: string \"nonsense\""),
            (json!({}), "missing field `verification`"),
            (json!(null), "invalid type: null"),
        ] {
            let error = source(&spec).read().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("column"), "{error}");
        }
    }
}
