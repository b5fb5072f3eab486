//! What Flux (kstatus) and Argo CD (our script) make of a source in every state that a real operator
//! brings it into. `chart_health` has the states that cannot be had this way.

use segment_source_tests::{
    health::{Health, health},
    kube::{
        api::ApiServer,
        tools::{Version, available},
    },
    manifest::{broken_mapping, welcome_mapping},
    site::Site,
    sources::Sources,
};
use serde_json::{Value, json};

/// Asserts what both say of the source as it is now, and a part of Argo CD's words.
async fn check(sources: &Sources<'_>, kstatus: &str, argo: &str, message: &str) {
    let object = sources.get("web").await;
    let found: Health = health(&object);
    let told = found.kstatus == kstatus && found.argo == argo && found.message.contains(message);
    assert!(told, "not {kstatus}, {argo}, `{message}`: {found:?}\n{object:#}");
}

fn spec(more: Value) -> Value {
    let mut spec = json!({"mappings": [welcome_mapping()]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

#[tokio::test]
async fn every_state_is_told_alike() {
    if !available(&["health"]) {
        return;
    }
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "health").await;

    // Nobody has looked at it. Without a status kstatus takes every object for done.
    sources.source("web", spec(json!({}))).await;
    check(&sources, "Current", "Progressing", "Waiting for the operator").await;

    let operator = sources.operator("one").ready().await;
    sources.until("web", "Ready=False/SecretNotFound").await;
    check(&sources, "InProgress", "Progressing", "`segment`").await;

    sources.signing_secret().await;
    sources.until("web", "Accepted=True/Accepted Ready=False/NoReplicas").await;
    check(&sources, "InProgress", "Progressing", "no replica is connected").await;

    let site = Site::new();
    let _server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    check(&sources, "Current", "Healthy", "in service on every replica").await;

    for part in ["Delivery", "Intake"] {
        sources.source("web", spec(json!({"suspend": part}))).await;
        sources.until_ready("web").await;
        check(&sources, "Current", "Healthy", &format!("Suspended: {part}")).await;
    }

    sources.source("web", spec(json!({"mappings": [broken_mapping()]}))).await;
    sources.until("web", "Accepted=False/Invalid Stalled=True/Invalid").await;
    check(&sources, "Failed", "Degraded", "must be put right").await;

    sources.source("web", spec(json!({}))).await;
    sources.until_ready("web").await;
    check(&sources, "Current", "Healthy", "in service on every replica").await;

    sources.delete_secret("segment").await;
    sources.until("web", "Ready=False/SecretNotFound").await;
    check(&sources, "InProgress", "Progressing", "is gone").await;
    sources.signing_secret().await;
    sources.until_ready("web").await;

    // An edit that nobody has seen yet.
    operator.freeze();
    sources.source("web", spec(json!({"suspend": "Delivery"}))).await;
    check(&sources, "InProgress", "Progressing", "to see the last change").await;
    operator.thaw();
    sources.until_ready("web").await;
    check(&sources, "Current", "Healthy", "Suspended: Delivery").await;

    // kstatus waits for a deletion to end; there is nothing that would hold it up.
    sources.delete("web").await;
}
