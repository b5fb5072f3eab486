//! Secrets that sources name: gone and back, rotated, touched, and with a newline too many.

use segment_source_tests::{
    http::Reply,
    kube::{api::ApiServer, tools::Version},
    manifest::secret,
    server::Server,
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    sources::Sources,
    wait::eventually,
    watcher::Watcher,
};
use serde_json::{Value, json};

const OTHER: &str = "not-a-real-secret-of-another-test";

async fn posted_with(server: &Server, source: &str, secret: &str) -> Reply {
    let body = track(&fresh_id(), "user-1", "Signed Up").to_string();
    let signature = sign(secret.as_bytes(), body.as_bytes());
    server.post_signed(source, body.as_bytes(), &signature).await
}

async fn accepted_with(server: &Server, source: &str, secret: &str) {
    assert_eq!(posted_with(server, source, secret).await.counts(), (1, 0));
}

/// Waits until requests with this secret are accepted.
async fn until_accepted(server: &Server, source: &str, secret: &str) {
    eventually("the secret is in use", || async {
        (posted_with(server, source, secret).await.status == 202).then_some(())
    })
    .await;
}

fn references(names: &[&str]) -> Value {
    let reference = |name: &&str| json!({"name": name, "key": "signing-secret"});
    json!({"verification": {"secretRefs": names.iter().map(reference).collect::<Vec<_>>()}})
}

#[tokio::test]
async fn a_secret_that_goes_stays_in_use_and_comes_back() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "gone").await;
    sources.signing_secret().await;
    sources.source("web", json!({})).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;

    sources.delete_secret("segment").await;
    let gone =
        "Accepted=True/Accepted ResolvedRefs=False/SecretNotFound Ready=False/SecretNotFound";
    let status = sources.until("web", gone).await;
    assert!(status.message("ResolvedRefs").contains("`segment` is gone"), "{}", status.text());
    accepted_with(&server, "web", SECRET).await;

    sources.signing_secret().await;
    sources.until_ready("web").await;
    accepted_with(&server, "web", SECRET).await;
    let told = ["Normal Accepted", "Normal SecretFound", "Warning SecretNotFound"];
    sources.until_events("web", &told).await;
}

#[tokio::test]
async fn secrets_rotate_by_a_second_reference_and_in_place() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "rotated").await;
    sources.secret("old", SECRET).await;
    sources.source("web", references(&["old"])).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    accepted_with(&server, "web", SECRET).await;

    // Both live, then the new one alone.
    sources.secret("new", OTHER).await;
    sources.source("web", references(&["new", "old"])).await;
    sources.until_ready("web").await;
    accepted_with(&server, "web", SECRET).await;
    accepted_with(&server, "web", OTHER).await;
    sources.source("web", references(&["new"])).await;
    sources.until_ready("web").await;
    accepted_with(&server, "web", OTHER).await;
    assert!(posted_with(&server, "web", SECRET).await.status >= 400);

    // In place: the same reference, another value.
    sources.secret("new", SECRET).await;
    until_accepted(&server, "web", SECRET).await;
    assert!(posted_with(&server, "web", OTHER).await.status >= 400);
    sources.until_ready("web").await;
    let told = ["Normal Accepted", "Normal Accepted", "Normal Accepted", "Normal SecretRotated"];
    sources.until_events("web", &told).await;
    let log = operator.log() + &server.log();
    assert!(![SECRET, OTHER].iter().any(|secret| log.contains(secret)), "a secret is in a log");
}

#[tokio::test]
async fn a_secret_touched_without_change_is_not_news() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "touched").await;
    sources.signing_secret().await;
    sources.source("web", json!({})).await;
    sources.source("marker", references(&["marker"])).await;
    let operator = sources.operator("one").ready().await;
    let mut watcher = Watcher::until_open(operator.grpc, "by-hand", 2).await;
    let (states, synced) = watcher.until_synced().await;
    assert_eq!(states.len(), 2);
    watcher.ack(synced.version);
    sources.until_ready("web").await;
    let before = sources.get("web").await;

    let mut touched = secret("segment", "signing-secret", SECRET);
    touched["metadata"]["annotations"] = json!({"touched": "yes"});
    touched["stringData"]["unused"] = json!("a value that nothing reads");
    sources.apply(&[touched]).await;
    // Whatever came of it has been told before the next change is.
    sources.secret("marker", OTHER).await;
    let state = watcher.state("marker").await;
    assert_eq!(state.version, synced.version + 1, "the source was not told again");
    watcher.ack(state.version);
    sources.until_ready("marker").await;
    assert_eq!(sources.get("web").await, before);
    sources.until_events("web", &["Normal Accepted"]).await;
}

#[tokio::test]
async fn a_trailing_newline_is_told_and_kept() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "newline").await;
    let bytes = format!("{SECRET}\n");
    sources.secret("segment", &bytes).await;
    sources.source("web", json!({})).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    let status = sources.until_ready("web").await;
    assert!(status.message("Accepted").contains("line break"), "{}", status.text());
    accepted_with(&server, "web", &bytes).await;
    // The warning goes with the newline.
    sources.secret("segment", SECRET).await;
    until_accepted(&server, "web", SECRET).await;
    eventually("the warning goes", || async {
        let status = sources.until_ready("web").await;
        (!status.message("Accepted").contains("line break")).then_some(())
    })
    .await;
}
