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
    /// Keys that are not in it any more, or are empty; these are their last values.
    gone_keys: Arc<[String]>,
}

impl Kept {
    /// What was read now, and the last values of keys that had one.
    fn read(version: Arc<str>, mut data: Vec<(String, Vec<u8>)>, before: Option<&Self>) -> Self {
        let mut gone_keys = Vec::new();
        let before = before.into_iter().flat_map(|it| it.data.iter());
        for (key, value) in before.filter(|(_, value)| !value.is_empty()) {
            let now = data.iter_mut().find(|(name, _)| name == key);
            match now {
                Some((_, now)) if now.is_empty() => now.clone_from(value),
                Some(_) => continue,
                None => data.push((key.clone(), value.clone())),
            }
            gone_keys.push(key.clone());
        }
        Self { version, data: data.into(), gone_keys: gone_keys.into() }
    }
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

    /// Whether the value of a key is its last one: the key, or the Secret, is gone.
    pub(crate) fn is_gone(&self, secret: &str, key: &str) -> bool {
        let Some(Found { kept: Some(kept), gone }) = self.by_secret.get(secret) else {
            return false;
        };
        let has = kept.data.iter().any(|(name, _)| name == key);
        has && (*gone || kept.gone_keys.iter().any(|gone| gone == key))
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

    /// The values of these keys' Secrets. A Secret or a key that is gone keeps its last values for
    /// as long as this process lives; one that never was there has none.
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
        let kept = Kept::read(version, data.collect(), kept.as_ref());
        lock(&self.kept).insert(secret.clone(), kept.clone());
        Ok(Found { kept: Some(kept), gone: false })
    }
}

/// What is left of a Secret that is not there.
fn last(kept: Option<Kept>) -> Found {
    Found { gone: kept.is_some(), kept }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    fn data(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_key_that_goes_keeps_its_last_value() {
        let one = Kept::read("1".into(), data(&[("a", "1"), ("b", "2"), ("never", "")]), None);
        assert_eq!(*one.data, data(&[("a", "1"), ("b", "2"), ("never", "")]));
        let two = Kept::read("2".into(), data(&[("b", "3"), ("a", ""), ("never", "")]), Some(&one));
        assert_eq!(*two.data, data(&[("b", "3"), ("a", "1"), ("never", "")]));
        assert_eq!(*two.gone_keys, ["a"]);
        let three = Kept::read("3".into(), data(&[("a", "4")]), Some(&two));
        assert_eq!(*three.data, data(&[("a", "4"), ("b", "3")]));
        assert_eq!(*three.gone_keys, ["b"]);
    }
}
