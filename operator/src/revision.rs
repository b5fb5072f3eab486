//! The last accepted spec of each source, kept in a ControllerRevision that the source owns, so
//! that whoever leads next can serve it beside a bad edit. Does IO. There are only references to
//! secrets in a spec, never values.

use std::sync::Arc;

use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{apis::meta::v1::OwnerReference, runtime::RawExtension},
};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use segment_source_crds::SegmentSource;
use tracing::warn;

use crate::{
    lease::Leadership,
    metrics::ApiErrors,
    name::Name,
    watch::{MANAGED_BY, Revisions, read_spec, revision_name},
};

/// Reads and writes revisions.
pub(crate) struct Record {
    client: Client,
    revisions: Arc<Revisions>,
    leadership: Leadership,
    errors: ApiErrors,
}

impl Record {
    pub(crate) fn new(
        client: Client,
        revisions: Arc<Revisions>,
        leadership: Leadership,
        errors: ApiErrors,
    ) -> Self {
        Self { client, revisions, leadership, errors }
    }

    fn api(&self, source: &Name) -> Api<ControllerRevision> {
        Api::namespaced(self.client.clone(), &source.namespace)
    }

    /// The source as it was accepted last.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn last(
        &self,
        source: &Name,
        uid: &str,
    ) -> kube::Result<Option<SegmentSource>> {
        let recorded = self.revisions.of(source, uid);
        for revision in recorded.into_iter().rev() {
            let read = self.api(source).get_opt(&revision.name).await;
            let Some(read) = self.counted(read)? else { continue };
            let data = read.data.map(|it| it.0).unwrap_or_default();
            match read_spec(data) {
                Ok(spec) => {
                    let mut accepted = SegmentSource::new(&source.name, spec);
                    accepted.metadata.namespace = Some(source.namespace.clone());
                    accepted.metadata.generation = Some(revision.generation);
                    return Ok(Some(accepted));
                }
                Err(error) => {
                    let revision = revision.name;
                    warn!(%source, revision, "cannot read a recorded spec, so it is not used: {error}");
                }
            }
        }
        Ok(None)
    }

    /// Records an accepted source, if this process leads and it is not recorded yet; then drops
    /// what was recorded before.
    ///
    /// # Errors
    /// When the API server does not answer, or does not let us.
    pub(crate) async fn keep(&self, name: &Name, source: &SegmentSource) -> kube::Result<()> {
        let uid = source.metadata.uid.clone().unwrap_or_default();
        let generation = source.metadata.generation.unwrap_or(0);
        let recorded = self.revisions.of(name, &uid);
        if !recorded.iter().any(|it| it.generation == generation) {
            if !self.leadership.leads() {
                return Ok(());
            }
            let revision = self.revision(name, &uid, generation, source);
            let created = self.api(name).create(&PostParams::default(), &revision).await;
            match created {
                // What is there under that name is the same: a generation never changes.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                other => drop(self.counted(other)?),
            }
        }
        for older in recorded.iter().filter(|it| it.generation < generation) {
            if !self.leadership.leads() {
                return Ok(());
            }
            match self.api(name).delete(&older.name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(self.counted(other)?),
            }
        }
        Ok(())
    }

    fn counted<T>(&self, result: kube::Result<T>) -> kube::Result<T> {
        result.inspect_err(|_| self.errors.count("controllerrevisions"))
    }

    fn revision(
        &self,
        name: &Name,
        uid: &str,
        generation: i64,
        source: &SegmentSource,
    ) -> ControllerRevision {
        let owner = OwnerReference {
            api_version: SegmentSource::api_version(&()).into_owned(),
            kind: SegmentSource::kind(&()).into_owned(),
            name: name.name.clone(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        let (label, value) = MANAGED_BY;
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(revision_name(&name.name, uid, generation)),
                namespace: Some(name.namespace.clone()),
                labels: Some([(label.to_owned(), value.to_owned())].into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            // A spec is JSON; there is nothing in it that could not be written.
            data: serde_json::to_value(&source.spec).ok().map(RawExtension),
            revision: generation,
        }
    }
}
