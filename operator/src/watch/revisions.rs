//! Which revisions of sources are recorded. What they say is `revision`'s.

use std::{
    collections::HashMap,
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
    by_source: Mutex<HashMap<Name, Vec<Recorded>>>,
    dirty: Arc<Dirty>,
}

/// A revision, and the uid of the source that it is of.
#[derive(Debug)]
struct Recorded {
    revision: Revision,
    uid: String,
}

impl Revisions {
    pub(crate) fn new(dirty: Arc<Dirty>) -> Self {
        Self { by_source: Mutex::default(), dirty }
    }

    /// The revisions of a source, oldest first.
    pub(crate) fn of(&self, source: &Name, uid: &str) -> Vec<Revision> {
        let by_source = lock(&self.by_source);
        let recorded = by_source.get(source).into_iter().flatten().filter(|it| it.uid == uid);
        let mut found: Vec<Revision> = recorded.map(|it| it.revision.clone()).collect();
        found.sort_by_key(|it| it.generation);
        found
    }
}

/// What the revision of a generation of a source is called.
pub(crate) fn revision_name(source: &str, uid: &str, generation: i64) -> String {
    let uid: String = uid.chars().take(UID_LENGTH).collect();
    format!("{source}-{uid}-g{generation}")
}

/// How much of a uid is in the name.
const UID_LENGTH: usize = 8;

/// The source and the generation that a revision is of.
fn parts(revision: &Name) -> Option<(Name, i64)> {
    let (rest, generation) = revision.name.rsplit_once("-g")?;
    let (source, _uid) = rest.rsplit_once('-')?;
    Some((Name::new(&revision.namespace, source), generation.parse().ok()?))
}

impl Shelf<PartialObjectMeta<ControllerRevision>> for Revisions {
    const KIND: &'static str = "controllerrevisions";

    fn put(&self, object: PartialObjectMeta<ControllerRevision>) {
        let name = Name::of(&object.metadata);
        let owner = object.metadata.owner_references.into_iter().flatten().next();
        let (Some((source, generation)), Some(owner)) = (parts(&name), owner) else { return };
        let mut by_source = lock(&self.by_source);
        let recorded = by_source.entry(source).or_default();
        recorded.retain(|it| it.revision.name != name.name);
        let revision = Revision { name: name.name, generation };
        recorded.push(Recorded { revision, uid: owner.uid });
    }

    fn remove(&self, name: &Name) {
        let Some((source, _)) = parts(name) else { return };
        let mut by_source = lock(&self.by_source);
        let Some(recorded) = by_source.get_mut(&source) else { return };
        recorded.retain(|it| it.revision.name != name.name);
        if recorded.is_empty() {
            by_source.remove(&source);
        }
        self.dirty.mark([source]);
    }

    fn names(&self) -> Vec<Name> {
        let by_source = lock(&self.by_source);
        let named = by_source.iter().flat_map(|(source, recorded)| {
            recorded.iter().map(|it| Name::new(&source.namespace, &it.revision.name))
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{parts, revision_name};
    use crate::name::Name;

    #[test]
    fn a_revision_is_named_after_its_source_and_generation() {
        let name = revision_name("my-web-g1", "12345678-9abc-def0", 42);
        assert_eq!(name, "my-web-g1-12345678-g42");
        assert_eq!(parts(&Name::new("prod", name)), Some((Name::new("prod", "my-web-g1"), 42)));
        assert_eq!(parts(&Name::new("prod", "web")), None);
    }
}
