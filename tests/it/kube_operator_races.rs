//! Writes of an operator that arrive late: somebody else was faster, and what they wrote stays. The
//! requests are held up on their way, so that every one of these races is run, and lost, each time.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use segment_source_tests::{
    kube::{api::ApiServer, gate::Gate, tools::Version},
    operator::{Launch, Operator},
    sources::{LEASE, Sources},
    watcher::Watcher,
};
use serde_json::{Value, json};

/// An operator whose requests go by the gate.
fn operator(sources: &Sources<'_>, gate: &Gate, name: &str) -> Launch {
    Operator::launch(&gate.kubeconfig, &sources.namespace).flag("name", name)
}

fn free_lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE},
        "spec": {"holderIdentity": "", "leaseTransitions": 7},
    })
}

fn token(name: &str, data: Value) -> Value {
    let metadata = json!({"name": name});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
}

/// What is in a Secret.
async fn data(sources: &Sources<'_>, name: &str) -> Option<BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(sources.client.clone(), &sources.namespace);
    secrets.get(name).await.expect("the Secret is there").data
}

#[tokio::test]
async fn of_two_that_find_the_lease_free_one_gets_it() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "taken").await;
    sources.apply(&[free_lease()]).await;
    let gate = Gate::new(api).await;
    let mut taking = gate.hold("PUT", LEASE);
    // So long that it waits for its answer until it has it.
    let one = operator(&sources, &gate, "one").flag("lease-duration", "90s").ready().await;
    taking.came().await;
    let two = sources.operator("two").flag("lease-duration", "90s").ready().await;
    two.until_leading().await;
    assert_eq!(taking.go().await, 409);
    one.logged("that it was too late", |line| line.contains("another process was faster")).await;
    assert_eq!(one.metric("leading").await, 0.0);
    assert_eq!(sources.leader().await, ("two".to_owned(), 8));
}

/// The leader has given up on its renewal, and another one leads, when that arrives.
#[tokio::test]
async fn a_renewal_that_comes_late_does_not_take_the_lease_back() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "late").await;
    let gate = Gate::new(api).await;
    let one = operator(&sources, &gate, "one").flag("lease-duration", "3s").ready().await;
    one.until_leading().await;
    let (_, epoch) = sources.leader().await;
    let mut renewal = gate.hold("PUT", LEASE);
    renewal.came().await;
    // It would renew with the next request.
    one.freeze();
    let two = sources.operator("two").flag("lease-duration", "3s").ready().await;
    two.until_leading().await;
    assert_eq!(renewal.go().await, 409);
    assert_eq!(sources.leader().await, ("two".to_owned(), epoch + 1));
    one.thaw();
    one.logged("that it does not lead", |line| line.contains("not leading any more")).await;
    assert_eq!(one.metric("leading").await, 0.0);
    assert_eq!(two.metric("leading").await, 1.0);
    assert_eq!(sources.leader().await, ("two".to_owned(), epoch + 1));
}

/// A status is ready when there is a newer source already. It must not be written over that.
#[tokio::test]
async fn a_status_is_written_only_on_the_source_it_is_about() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "raced").await;
    sources.signing_secret().await;
    let gate = Gate::new(api).await;
    let operator = operator(&sources, &gate, "one").ready().await;
    operator.until_leading().await;
    let _replica = Watcher::until_open(operator.grpc, "by-hand", 2).await.take_all();
    let mut report = gate.hold("PATCH", "/web/status");
    sources.source("web", json!({})).await;
    report.came().await;
    sources.source("web", json!({"suspend": "Delivery"})).await;
    assert_eq!(report.go().await, 409);
    let ready = sources.until_ready("web").await;
    assert_eq!(ready.0["observedGeneration"], 2);

    // The same name may be another source.
    let mut report = gate.hold("PATCH", "/web/status");
    sources.source("web", json!({"suspend": "Intake"})).await;
    report.came().await;
    sources.delete("web").await;
    sources.source("web", json!({})).await;
    assert_eq!(report.go().await, 409);
    let ready = sources.until_ready("web").await;
    assert_eq!(ready.0["observedGeneration"], 1);
}

/// It has asked what is there as the leader, and has the answer when it leads no more.
#[tokio::test]
async fn a_secret_is_not_filled_by_a_leader_whose_time_is_over() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "over").await;
    let name = "rel-platform-token";
    sources.apply(&[token(name, json!({}))]).await;
    let gate = Gate::new(api).await;
    let mut reading = gate.hold("GET", name);
    let one = operator(&sources, &gate, "one").flag("platform-token-secret", name);
    let one = one.flag("lease-duration", "3s").ready().await;
    reading.came().await;
    one.freeze();
    let two = sources.operator("two").flag("lease-duration", "3s").ready().await;
    two.until_leading().await;
    assert_eq!(reading.go().await, 200);
    one.thaw();
    one.logged("that it was too late", |line| line.contains("does not lead any more")).await;
    assert_eq!(data(&sources, name).await, None);
    assert_eq!(sources.leader().await.0, "two");
}

#[tokio::test]
async fn a_secret_that_somebody_has_filled_meanwhile_stays_as_it_is() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "filled").await;
    let (name, theirs) = ("rel-platform-token", "not-a-real-token-of-somebody-else");
    sources.apply(&[token(name, json!({}))]).await;
    let gate = Gate::new(api).await;
    let mut filling = gate.hold("PATCH", name);
    let operator = operator(&sources, &gate, "one").flag("platform-token-secret", name);
    let operator = operator.ready().await;
    filling.came().await;
    sources.apply(&[token(name, json!({"token": theirs}))]).await;
    // It looks again, and is content.
    let mut again = gate.hold("GET", name);
    assert_eq!(filling.go().await, 409);
    operator.logged("that it was too late", |line| line.contains("cannot write Secret")).await;
    again.came().await;
    assert_eq!(again.go().await, 200);
    let kept = data(&sources, name).await.expect("it is filled");
    assert_eq!(kept["token"].0, theirs.as_bytes());
}
