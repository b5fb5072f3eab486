//! Edits that are wrong: what is said, what stays in service, and who is not touched.

use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::{broken_mapping, welcome_mapping},
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    sources::Sources,
    wait::eventually,
};
use serde_json::{Value, json};

fn body() -> String {
    track(&fresh_id(), "user-1", "Signed Up").to_string()
}

fn bad() -> Value {
    json!({"mappings": [broken_mapping()]})
}

fn good() -> Value {
    json!({"mappings": [welcome_mapping()]})
}

const REJECTED: &str = "Accepted=False/Invalid Programmed=False/Pending Ready=False/Invalid \
                        Stalled=True/Invalid";

/// How many actions an event causes.
async fn actions(server: &Server, source: &str) -> usize {
    let id = fresh_id();
    let event = track(&id, "user-1", "Signed Up").to_string();
    assert_eq!(server.post(source, event).await.counts(), (1, 0));
    server.planned_one(source, &id).await.actions.len()
}

#[tokio::test]
async fn a_bad_edit_is_told_and_the_last_good_one_serves() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "edit").await;
    sources.signing_secret().await;
    sources.source("web", good()).await;
    sources.source("shop", good()).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    sources.until_ready("shop").await;
    let shop = sources.get("shop").await;

    sources.source("web", bad()).await;
    let status = sources.until("web", REJECTED).await;
    let field = "spec.mappings[0].when";
    assert!(status.message("Accepted").contains(field), "{}", status.text());
    assert!(status.message("Programmed").contains("generation 1 stays"), "{}", status.text());
    assert_eq!(actions(&server, "web").await, 1);
    // Another mistake is another message.
    sources.source("web", json!({"eventTypePath": "body..x", "mappings": []})).await;
    let status = sources.until("web", REJECTED).await;
    assert!(status.message("Accepted").contains("spec.eventTypePath"), "{}", status.text());
    assert_eq!(actions(&server, "web").await, 1);
    sources.until_events("web", &["Normal Accepted", "Warning Invalid", "Warning Invalid"]).await;
    let told = sources.events("web").await;
    let invalid: Vec<_> = told.iter().filter(|it| it.0 == "Warning Invalid").collect();
    for field in [field, "spec.eventTypePath"] {
        assert!(invalid.iter().any(|it| it.1.contains(field)), "{told:?}");
    }
    // The last good spec is the one that is recorded.
    let recorded = sources.revisions("web").await;
    assert_eq!(recorded.iter().map(|it| it.revision).collect::<Vec<_>>(), [1]);
    assert_eq!(sources.get("shop").await, shop, "another source is not touched");
    assert_eq!(actions(&server, "shop").await, 1);

    sources.source("web", json!({"mappings": []})).await;
    sources.until_ready("web").await;
    assert_eq!(actions(&server, "web").await, 0);
}

/// The one that has seen the good spec is gone, and the replica knows nothing.
#[tokio::test]
async fn beside_a_bad_edit_a_new_leader_and_a_new_replica_serve_the_last_good_spec() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "last-good").await;
    sources.signing_secret().await;
    sources.source("web", good()).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    sources.source("web", bad()).await;
    sources.until("web", REJECTED).await;
    drop((operator, server, site));

    let operator = sources.operator("two").flag("lease-duration", "2s").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    assert_eq!(actions(&server, "web").await, 1);
    let status = sources.until("web", REJECTED).await;
    assert!(status.message("Programmed").contains("generation 1 stays"), "{}", status.text());
    // A rotated Secret reaches what is served, too.
    sources.secret("segment", "not-a-real-secret-either").await;
    eventually("the old secret is refused", || async {
        (server.post("web", body()).await.status != 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_never_right_answers_503() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "never").await;
    sources.signing_secret().await;
    sources.source("web", bad()).await;
    sources.source("shop", good()).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    let status = sources.until("web", REJECTED).await;
    let unknown = "ResolvedRefs=Unknown/Invalid";
    sources.until("web", unknown).await;
    assert!(status.message("Programmed").contains("nothing is in service"), "{}", status.text());
    server.post("web", body()).await.assert_heals();
    assert_eq!(actions(&server, "shop").await, 1);
    sources.until_ready("shop").await;
    assert_eq!(server.post("nowhere", body()).await.status, 404);
    assert!(sources.revisions("web").await.is_empty());
    sources.source("web", good()).await;
    sources.until_ready("web").await;
    assert_eq!(actions(&server, "web").await, 1);
}
