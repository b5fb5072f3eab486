//! A whole life of an operator by the account and the flags of the chart: everything that it ever
//! asks of an API server, once. Which right that takes, and where secret values end up, is for
//! those who call this.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use std::time::{Duration, Instant};

use segment_source_tests::{
    bare::BareRelease,
    manifest::{broken_mapping, welcome_mapping},
    mount::{IDENTITY, Mount},
    operator::Operator,
    release::NAME,
    sign::fresh_id,
    site::Site,
    sources::Sources,
    wait::{PATIENCE, eventually},
};
use serde_json::{Value, json};

/// Values of the Secrets that the source names. None is anywhere else.
pub(crate) struct Values {
    /// Signing secrets, one after the other.
    pub(crate) signing: [String; 3],
    /// Of the required header.
    pub(crate) header: String,
    /// Of a client.
    pub(crate) token: String,
}

impl Values {
    pub(crate) fn fresh() -> Self {
        let fresh = |what: &str| format!("not-a-real-{what}-{}", fresh_id());
        Self {
            signing: ["first", "second", "third"].map(fresh),
            header: fresh("header"),
            token: fresh("token"),
        }
    }

    pub(crate) fn all(&self) -> Vec<&str> {
        let others = [&self.header, &self.token];
        self.signing.iter().chain(others).map(String::as_str).collect()
    }

    fn secret(&self, signing: usize) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "web"},
            "stringData": {
                "signing": self.signing[signing], "header": self.header, "token": self.token,
            },
        })
    }
}

/// A source that names every kind of secret value.
fn spec(more: Value) -> Value {
    let mut spec = json!({
        "verification": {
            "secretRefs": [{"name": "web", "key": "signing"}],
            "batches": {
                "policy": "FirstElement",
                "requireHeader": {
                    "name": "x-segment-token", "secretRef": {"name": "web", "key": "header"},
                },
            },
        },
        "access": [{
            "name": "worker", "tokenSecretRef": {"name": "web", "key": "token"},
            "can": ["Consume"],
        }],
        "mappings": [welcome_mapping()],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

/// Waits until exactly this generation of the source is recorded.
async fn recorded(sources: &Sources<'_>, generation: i64) {
    eventually("only the last accepted spec is recorded", || async {
        let found: Vec<i64> = sources.revisions("web").await.iter().map(|it| it.revision).collect();
        (found == [generation]).then_some(())
    })
    .await;
}

/// Waits until there are so many Events about the source that read so.
async fn told(sources: &Sources<'_>, count: usize, head: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = sources.events("web").await;
        if told.iter().filter(|(it, _)| it == head).count() == count {
            return;
        }
        assert!(Instant::now() < end, "waited in vain for {count} {head}:\n{told:#?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Goes through all of it; everything that the operator has said, and its metrics.
pub(crate) async fn live(
    release: &BareRelease<'_>,
    sources: &Sources<'_>,
    values: &Values,
) -> String {
    let mut operator: Operator = release.operator("operator-0").await.ready().await;
    operator.until_leading().await;
    let filled = release.filled().await;
    assert!(filled.len() >= 4, "{}", filled.len());

    sources.apply(&[values.secret(0)]).await;
    sources.source("web", spec(json!({}))).await;
    sources.until("web", "Accepted=True/Accepted ResolvedRefs=True/Resolved").await;
    // Certificates are good for what they are made for: a replica gets its configuration.
    let site = Site::new();
    let single = filled.iter().any(|it| it.metadata.name.as_deref() == Some("segment-source-tls"));
    let mut replica = None;
    if single {
        let tls = site.path().join("tls");
        let secret = format!("{NAME}-tls");
        let mount = Mount::new(&sources.client, &release.namespace, &secret, IDENTITY, &tls).await;
        let launch = sources.replica(&site, &format!("https://{}", operator.grpc));
        let server = launch.flag("tls", tls.to_str().expect("UTF-8")).start().await;
        sources.until_ready("web").await;
        replica = Some((server, mount));
    }
    recorded(sources, 1).await;
    told(sources, 1, "Normal Accepted").await;

    // An edit; one that is wrong; and put right again.
    sources.source("web", spec(json!({"suspend": "Delivery"}))).await;
    recorded(sources, 2).await;
    sources.source("web", spec(json!({"mappings": [broken_mapping()]}))).await;
    sources.until("web", "Accepted=False/Invalid Stalled=True/Invalid").await;
    told(sources, 1, "Warning Invalid").await;
    recorded(sources, 2).await;
    sources.source("web", spec(json!({}))).await;
    sources.until("web", "Accepted=True/Accepted !Stalled").await;
    recorded(sources, 4).await;

    // New values of a Secret, twice.
    for rotation in [1, 2] {
        sources.apply(&[values.secret(rotation)]).await;
        told(sources, rotation, "Normal SecretRotated").await;
    }

    let page = operator.get("/metrics").await.expect("the metrics answer").text();
    drop(replica);
    operator.terminate();
    assert!(operator.ended().await.success(), "{}", operator.log());
    let leases: Api<Lease> = Api::namespaced(sources.client.clone(), &release.namespace);
    let lease = leases.get(&format!("{NAME}-operator")).await.expect("the Lease stays");
    let holder = lease.spec.and_then(|it| it.holder_identity).unwrap_or_default();
    assert_eq!(holder, "", "the Lease is given back");
    format!("{}\n{page}", operator.log())
}
