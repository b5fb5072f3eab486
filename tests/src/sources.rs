//! A namespace with SegmentSources: made, edited and looked at as people and tools do it, through
//! the API server; and the processes that work on them, ready to be started.

use std::{
    fmt::{self, Write as _},
    fs,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, coordination::v1::Lease, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    kube::api::ApiServer,
    manifest::{secret, signing_secret, source},
    operator::{self, Operator},
    process::root,
    server,
    site::Site,
    wait::{PATIENCE, eventually},
};

/// Name of the definition.
pub const DEFINITION: &str = "segmentsources.segment-source.dev";
/// The Lease that operators share.
pub const LEASE: &str = "segment-source-operator";

/// One namespace.
#[derive(Clone)]
pub struct Sources<'a> {
    /// Where it is.
    pub api: &'a ApiServer,
    /// The administrator's.
    pub client: Client,
    /// Its name.
    pub namespace: String,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl<'a> Sources<'a> {
    /// A new namespace whose name begins with `prefix`; the definition is installed when there is
    /// none.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn new(api: &'a ApiServer, prefix: &str) -> Self {
        let definitions: Api<CustomResourceDefinition> = Api::all(api.client().await);
        let found = definitions.get_opt(DEFINITION).await.expect("the API server answers");
        match found {
            Some(_) => established(&api.client().await).await,
            None => install(api).await,
        }
        Self::within(api, prefix).await
    }

    /// A new namespace whose name begins with `prefix`, with the definition that there is.
    pub async fn within(api: &'a ApiServer, prefix: &str) -> Self {
        let namespace = api.namespace(prefix).await;
        Self { api, client: api.client().await, namespace }
    }

    /// An operator of this namespace.
    #[must_use]
    pub fn operator(&self, name: &str) -> operator::Launch {
        Operator::launch(self.api.kubeconfig(), &self.namespace).flag("name", name)
    }

    /// A replica of the service with the sources of this namespace, which an operator at `config`
    /// tells it.
    #[must_use]
    pub fn replica(&self, site: &Site, config: &str) -> server::Launch {
        site.launch().flag("config", config).sources_of(&self.namespace)
    }

    /// Applies objects server-side, in this namespace.
    ///
    /// # Panics
    /// When the API server does not take them.
    pub async fn apply(&self, objects: &[Value]) {
        for object in objects {
            self.try_apply(object.clone()).await.expect("the object is admitted");
        }
    }

    /// Applies an object server-side, in this namespace.
    ///
    /// # Errors
    /// What the API server says against it.
    pub async fn try_apply(&self, mut object: Value) -> kube::Result<DynamicObject> {
        object["metadata"]["namespace"] = json!(self.namespace);
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let name = object["metadata"]["name"].as_str().expect("it has a name").to_owned();
        api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&object)).await
    }

    /// Applies a source; `spec` adds to the usual one.
    pub async fn source(&self, name: &str, spec: Value) {
        self.apply(&[source(name, spec)]).await;
    }

    /// Applies the Secret that every source names.
    pub async fn signing_secret(&self) {
        self.apply(&[signing_secret()]).await;
    }

    /// Applies a Secret of this value, under the key that sources name.
    pub async fn secret(&self, name: &str, value: &str) {
        self.apply(&[secret(name, "signing-secret", value)]).await;
    }

    /// SegmentSources, without a type.
    #[must_use]
    pub fn all(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("segment-source.dev", "v1alpha1", "SegmentSource");
        let kind = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// Deletes a source, and waits until it is gone.
    ///
    /// # Panics
    /// When it was not there.
    pub async fn delete(&self, name: &str) {
        self.all().delete(name, &DeleteParams::default()).await.expect("it was there");
        eventually("the source is gone", || async {
            self.all().get_opt(name).await.expect("the API server answers").is_none().then_some(())
        })
        .await;
    }

    /// Deletes a Secret.
    ///
    /// # Panics
    /// When it was not there.
    pub async fn delete_secret(&self, name: &str) {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(self.client.clone(), &self.namespace);
        secrets.delete(name, &DeleteParams::default()).await.expect("it was there");
    }

    /// A source as it is stored.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&self, name: &str) -> Value {
        let found = self.all().get(name).await.expect("the source is there");
        serde_json::to_value(found).expect("objects are JSON")
    }

    /// Waits until every condition reads as said, for the newest generation: `Type=Status/Reason`,
    /// separated by spaces; others may be there, too, unless `!Type` says that one must not.
    ///
    /// # Panics
    /// With the whole status, when that does not come.
    pub async fn until(&self, name: &str, conditions: &str) -> Status {
        let end = Instant::now() + PATIENCE;
        loop {
            let object = self.get(name).await;
            let status = Status(object["status"].clone());
            let current = status.0["observedGeneration"] == object["metadata"]["generation"];
            if current && conditions.split_whitespace().all(|it| status.says(it)) {
                return status;
            }
            assert!(
                Instant::now() < end,
                "waited in vain for {conditions} of {name}, generation {}:\n{}",
                object["metadata"]["generation"],
                status.text()
            );
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until all is well with a source.
    pub async fn until_ready(&self, name: &str) -> Status {
        let well = "Accepted=True/Accepted ResolvedRefs=True/Resolved Programmed=True/Programmed \
                    Ready=True/Ready !Stalled";
        self.until(name, well).await
    }

    /// The recorded specs of a source: names of its ControllerRevisions, in order.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn revisions(&self, source: &str) -> Vec<ControllerRevision> {
        let all: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = all.list(&ListParams::default()).await.expect("revisions are listed").items;
        let mut own: Vec<_> = all
            .into_iter()
            .filter(|it| {
                it.metadata.owner_references.iter().flatten().any(|owner| owner.name == source)
            })
            .collect();
        own.sort_by_key(|it| it.revision);
        own
    }

    /// The Events about a source, as `Type Reason` with their notes, by reason.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn events(&self, source: &str) -> Vec<(String, String)> {
        let all: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = all.list(&ListParams::default()).await.expect("Events are listed").items;
        let mut told: Vec<_> = all
            .into_iter()
            .filter(|it| it.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(source))
            .map(|it| {
                let text = |field: Option<String>| field.unwrap_or_default();
                // A series is the same Event again.
                let times = it.series.map(|it| format!(" x{}", it.count)).unwrap_or_default();
                (format!("{} {}{times}", text(it.type_), text(it.reason)), text(it.note))
            })
            .collect();
        told.sort();
        told
    }

    /// Waits until there are exactly these Events about a source (`Type Reason`, sorted).
    ///
    /// # Panics
    /// With those that there are, when that does not come.
    pub async fn until_events(&self, source: &str, expected: &[&str]) {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = self.events(source).await;
            let heads: Vec<_> = told.iter().map(|(head, _)| head.as_str()).collect();
            if heads == expected {
                return;
            }
            assert!(Instant::now() < end, "waited in vain for {expected:?}:\n{told:#?}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Makes the Lease free, as one does who ends in order.
    ///
    /// # Panics
    /// When there is none.
    pub async fn release_lease(&self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let free = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
        leases.patch(LEASE, &PatchParams::default(), &free).await.expect("there is a Lease");
    }

    /// Who holds the Lease, and for which time it was taken.
    ///
    /// # Panics
    /// When there is none.
    pub async fn leader(&self) -> (String, i32) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let lease = leases.get(LEASE).await.expect("there is a Lease");
        let spec = lease.spec.expect("it says something");
        (
            spec.holder_identity.unwrap_or_default(),
            spec.lease_transitions.expect("it was taken once"),
        )
    }
}

/// A status as it is stored.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    /// A condition.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn condition(&self, kind: &str) -> &Value {
        self.find(kind).unwrap_or_else(|| panic!("no {kind} in {}", self.text()))
    }

    /// A condition's message.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn message(&self, kind: &str) -> &str {
        self.condition(kind)["message"].as_str().expect("it has a message")
    }

    fn find(&self, kind: &str) -> Option<&Value> {
        let all = self.0["conditions"].as_array();
        all.into_iter().flatten().find(|it| it["type"] == kind)
    }

    fn says(&self, wanted: &str) -> bool {
        if let Some(kind) = wanted.strip_prefix('!') {
            return self.find(kind).is_none();
        }
        let (kind, rest) = wanted.split_once('=').expect("Type=Status/Reason");
        let (is, reason) = rest.split_once('/').expect("Type=Status/Reason");
        let generation = &self.0["observedGeneration"];
        self.find(kind).is_some_and(|it| {
            it["status"] == is && it["reason"] == reason && it["observedGeneration"] == *generation
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let (generation, path) = (&self.0["observedGeneration"], &self.0["ingestPath"]);
        _ = writeln!(text, "observedGeneration {generation}, ingestPath {path}");
        for it in self.0["conditions"].as_array().into_iter().flatten() {
            let field = |name: &str| it[name].as_str().unwrap_or_default();
            let (kind, is, reason) = (field("type"), field("status"), field("reason"));
            _ = writeln!(text, "{kind}={is}/{reason}: {}", field("message"));
        }
        text
    }
}

/// Installs the definition as it is in `crds/`, and waits until sources can be made.
///
/// # Panics
/// When it is not taken.
pub async fn install(api: &ApiServer) {
    install_changed(api, |_| {}).await;
}

/// Installs the definition with a change.
///
/// # Panics
/// When it is not taken.
pub async fn install_changed(api: &ApiServer, change: impl FnOnce(&mut Value)) {
    let file = root().join("crds/segmentsources.segment-source.dev.yaml");
    let text = fs::read_to_string(file).expect("the definition can be read");
    let mut definition: Value = serde_saphyr::from_str(&text).expect("the definition is YAML");
    change(&mut definition);
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    api.kubectl(&arguments, &definition.to_string()).await.exits(0);
    established(&api.client().await).await;
}

/// Installs the definition with a schema that lets everything through, as another version of it
/// might have done.
pub async fn install_loose(api: &ApiServer) {
    install_changed(api, |definition| {
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    })
    .await;
}

/// Waits until the definition is served.
pub async fn established(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    eventually("the definition is established", || async {
        let found = definitions.get_opt(DEFINITION).await.ok().flatten()?;
        let conditions = found.status.and_then(|it| it.conditions).unwrap_or_default();
        conditions.iter().any(|it| it.type_ == "Established" && it.status == "True").then_some(())
    })
    .await;
}
