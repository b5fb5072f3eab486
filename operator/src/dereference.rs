//! The values of the Secrets that a source names. Does IO: each named Secret is read once for each
//! of its versions. Nothing here prints a value.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use segment_source_crds::SecretRef;

use crate::{index::Index, lock::lock, metrics::ApiErrors, name::Name, watch::Secrets};

/// The values of one Secret by key. Few, so a list: a map takes half a kilobyte for one of them.
type Data = Arc<[(String, Vec<u8>)]>;

/// Reads Secrets, and keeps what it read.
pub(crate) struct Dereference {
    client: Client,
    secrets: Arc<Secrets>,
    index: Arc<Index>,
    kept: Mutex<HashMap<Name, Kept>>,
    errors: ApiErrors,
}

/// A Secret as it was read last.
#[derive(Clone, PartialEq, Eq)]
struct Kept {
    version: Arc<str>,
    data: Data,
}

/// What the Secrets of a source hold. Equal versions mean equal values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Values {
    by_secret: BTreeMap<String, Found>,
}

#[derive(Clone, PartialEq, Eq)]
struct Found {
    /// `None`: it never was there.
    kept: Option<Kept>,
    /// It is not there any more; these are its last values.
    gone: bool,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_secret.keys()).finish()
    }
}

impl Values {
    /// The value of a key.
    pub(crate) fn get(&self, secret: &str, key: &str) -> Option<Vec<u8>> {
        let kept = self.by_secret.get(secret)?.kept.as_ref()?;
        kept.data.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    /// Which versions of which Secrets these are.
    pub(crate) fn versions(&self) -> Versions {
        let versions = self.by_secret.iter().map(|(secret, it)| Version {
            secret: secret.clone(),
            version: it.kept.as_ref().map(|it| it.version.clone()),
            gone: it.gone,
        });
        Versions(versions.collect())
    }

    /// Secrets that are gone, whose last values are used.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &str> {
        self.by_secret.iter().filter(|(_, it)| it.gone).map(|(name, _)| name.as_str())
    }
}

/// Which versions of which Secrets some values are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions(Box<[Version]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    secret: String,
    version: Option<Arc<str>>,
    gone: bool,
}

impl Dereference {
    pub(crate) fn new(
        client: Client,
        secrets: Arc<Secrets>,
        index: Arc<Index>,
        errors: ApiErrors,
    ) -> Self {
        Self { client, secrets, index, kept: Mutex::default(), errors }
    }

    /// The values of these keys' Secrets. A Secret that is gone keeps its last values for as long
    /// as this process lives; one that never was there has none.
    ///
    /// # Errors
    /// When the API server does not answer, or does not let us read one.
    pub(crate) async fn values(
        &self,
        source: &Name,
        references: &[SecretRef],
    ) -> Result<Values, kube::Error> {
        let names: BTreeSet<String> = references.iter().map(|it| it.name.clone()).collect();
        // Before looking: a Secret that changes from here on has the source looked at again.
        self.remember(source, names.clone());
        let mut values = Values::default();
        for secret in names {
            let found = self.find(&Name::new(&source.namespace, &secret)).await?;
            values.by_secret.insert(secret, found);
        }
        Ok(values)
    }

    /// The source is gone.
    pub(crate) fn forget(&self, source: &Name) {
        self.remember(source, BTreeSet::new());
    }

    fn remember(&self, source: &Name, names: BTreeSet<String>) {
        let unused = self.index.set(source, names);
        if !unused.is_empty() {
            let mut kept = lock(&self.kept);
            for secret in unused {
                kept.remove(&secret);
            }
        }
    }

    async fn find(&self, secret: &Name) -> Result<Found, kube::Error> {
        let kept = lock(&self.kept).get(secret).cloned();
        let Some(version) = self.secrets.version(secret) else { return Ok(last(kept)) };
        if kept.as_ref().is_some_and(|it| it.version == version) {
            return Ok(Found { kept, gone: false });
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let read = api.get_opt(&secret.name).await;
        let Some(read) = read.inspect_err(|_| self.errors.count("secrets"))? else {
            return Ok(last(kept));
        };
        let version: Arc<str> = read.metadata.resource_version.unwrap_or_default().into();
        let data = read.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        let kept = Kept { version, data: data.collect() };
        lock(&self.kept).insert(secret.clone(), kept.clone());
        Ok(Found { kept: Some(kept), gone: false })
    }
}

/// What is left of a Secret that is not there.
fn last(kept: Option<Kept>) -> Found {
    Found { gone: kept.is_some(), kept }
}
