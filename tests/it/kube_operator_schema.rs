//! Parts of different versions: a definition that is missing or too old, and replicas that do not
//! understand everything yet.

use segment_source_proto::config::v1::source_state::State;
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::secret,
    sources::{self, Sources},
    watcher::Watcher,
};
use serde_json::json;

#[tokio::test]
async fn an_operator_waits_for_a_definition_that_is_new_enough() {
    let Some(api) = ApiServer::start(Version::Newest).await else { return };
    let sources = Sources::within(&api, "definition").await;
    let mut operator = sources.operator("one").start().await;
    let missing = |line: &str| line.contains("is missing; install or upgrade the chart");
    operator.logged("that the definition is missing", missing).await;
    assert!(!operator.is_ready().await);
    let live = operator.get("/live").await.expect("it answers");
    assert_eq!(live.status, 200, "it lives, so that nobody restarts it");

    sources::install_changed(&api, |definition| {
        definition["metadata"]["annotations"]["segment-source.dev/schema"] = json!("1");
    })
    .await;
    let old = |line: &str| line.contains("has schema 1 ") && line.contains("install or upgrade");
    operator.logged("that the definition is too old", old).await;
    assert!(!operator.is_ready().await);
    sources.source("web", json!({})).await;
    sources.signing_secret().await;

    sources::install(&api).await;
    operator.until_ready().await;
    sources.until("web", "Accepted=True/Accepted Programmed=False/NoReplicas").await;
}

#[tokio::test]
async fn a_replica_that_does_not_understand_a_source_is_told_of() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "level").await;
    sources.signing_secret().await;
    sources.apply(&[secret("client", "token", "not-a-real-token-of-the-tests-at-all")]).await;
    let access = json!([{
        "name": "worker",
        "tokenSecretRef": {"name": "client", "key": "token"},
        "can": ["Consume"],
    }]);
    sources.source("web", json!({"access": access})).await;
    sources.source("plain", json!({})).await;
    let operator = sources.operator("one").ready().await;
    let mut new = Watcher::until_open(operator.grpc, "new-0", 2).await;
    let (_, synced) = new.until_synced().await;
    new.ack(synced.version);
    sources.until_ready("web").await;

    let mut old = Watcher::until_open(operator.grpc, "old-0", 1).await;
    let (states, synced) = old.until_synced().await;
    let web = states.iter().find(|it| it.source.as_ref().is_some_and(|it| it.name == "web"));
    let web = web.expect("it is told");
    let Some(State::Loaded(loaded)) = &web.state else { panic!("{web:?}") };
    assert_eq!(loaded.schema_level, 2);
    old.nack(web, "it needs schema level 2, and this replica understands 1; upgrade it");
    old.ack(synced.version);
    let refused = "Accepted=True/Accepted Programmed=False/Refused Ready=False/Refused";
    let status = sources.until("web", refused).await;
    let message = status.message("Programmed");
    assert!(message.contains("old-0") && message.contains("schema level 2"), "{message}");
    assert_eq!(operator.metric("refusals").await, 1.0);
    sources.until_events("web", &["Normal Accepted", "Warning Refused"]).await;
    sources.until_ready("plain").await;

    // It is upgraded.
    drop(old);
    let _old = Watcher::until_open(operator.grpc, "old-0", 2).await.take_all();
    sources.until_ready("web").await;
    assert_eq!(operator.metric("refusals").await, 0.0);

    // A removal is told, and the name that comes back is another source.
    sources.delete("plain").await;
    let removed = new.removed().await;
    assert_eq!(removed.source.expect("it is named").name, "plain");
    sources.source("plain", json!({})).await;
    let state = new.state("plain").await;
    assert!(state.version > removed.version);
}
