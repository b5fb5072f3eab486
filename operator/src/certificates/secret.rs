//! The Secrets that certificates and the platform token are kept in. Does IO. They exist already,
//! empty: what creates them is the installation. Nothing here prints a value.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{lease::Leadership, metrics::ApiErrors};

/// Our Secrets of one namespace.
#[derive(Clone)]
pub(super) struct Secrets {
    api: Api<Secret>,
    namespace: String,
    leadership: Leadership,
    errors: ApiErrors,
}

/// One Secret as it was read.
pub(super) struct Kept {
    name: String,
    version: Option<String>,
    data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({}, redacted)", self.name)
    }
}

impl Kept {
    /// The value of a key; empty when it is missing.
    pub(super) fn get(&self, key: &str) -> &[u8] {
        self.data.get(key).map_or(&[], Vec::as_slice)
    }
}

impl Secrets {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        leadership: Leadership,
        errors: ApiErrors,
    ) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), leadership, errors }
    }

    /// Whether this process may write at this moment.
    pub(super) fn leads(&self) -> bool {
        self.leadership.leads()
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is missing, or the API server does not answer.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Kept> {
        let read = self.api.get_opt(name).await.inspect_err(|_| self.errors.count("secrets"));
        let read = read.with_context(|| format!("cannot read Secret {}/{name}", self.namespace))?;
        let Some(read) = read else {
            bail!(
                "Secret {}/{name} is missing; the chart creates it empty, and the operator fills \
                 it: install or upgrade the release again",
                self.namespace
            );
        };
        let data = read.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        Ok(Kept {
            name: name.to_owned(),
            version: read.metadata.resource_version,
            data: data.collect(),
        })
    }

    /// Writes these keys of a Secret, if it still is as it was read and this process leads.
    ///
    /// # Errors
    /// When one of the two does not hold, or the API server does not answer.
    pub(super) async fn write(&self, kept: &Kept, data: &[(&str, &str)]) -> anyhow::Result<()> {
        let encoded: BTreeMap<&str, String> =
            data.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": kept.version},
            "data": encoded,
        }));
        let manager = Some("segment-source-operator".to_owned());
        let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
        if !self.leads() {
            bail!("this process does not lead any more");
        }
        let written = self.api.patch_metadata(&kept.name, &parameters, &patch).await;
        let written = written.inspect_err(|_| self.errors.count("secrets"));
        written.with_context(|| format!("cannot write Secret {}/{}", self.namespace, kept.name))?;
        Ok(())
    }
}
