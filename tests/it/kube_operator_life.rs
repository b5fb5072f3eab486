//! The life of a source in a cluster: from `kubectl apply` to an action, and what is said about it
//! on the way.

use std::time::Duration;

use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::welcome_mapping,
    sign::{fresh_id, track},
    site::Site,
    sources::Sources,
};
use serde_json::json;

#[tokio::test]
async fn a_source_is_applied_served_and_reported() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "life").await;
    let namespace = sources.namespace.clone();
    let url = "https://events.example.com/";
    let operator = sources.operator("one").flag("public-url", url).ready().await;

    // Before its Secret exists, and before there is a replica.
    sources.source("web", json!({"mappings": [welcome_mapping()]})).await;
    let status =
        sources.until("web", "Accepted=True/Accepted ResolvedRefs=False/SecretNotFound").await;
    let path = format!("/v1/sources/{namespace}/web");
    assert_eq!(status.0["ingestPath"], path);
    assert_eq!(status.0["url"], format!("https://events.example.com{path}"));
    assert!(status.message("ResolvedRefs").contains("segment"), "{}", status.text());
    sources.until("web", "Programmed=False/NoReplicas Ready=False/SecretNotFound").await;

    let site = Site::new();
    let launch = sources.replica(&site, &operator.config());
    let server = launch.flag("replica", "replica-1").start().await;
    sources.until("web", "Programmed=True/Programmed Ready=False/SecretNotFound").await;
    let id = fresh_id();
    let event = track(&id, "user-1", "Signed Up").to_string();
    server.post("web", &event).await.assert_heals();

    sources.signing_secret().await;
    let status = sources.until_ready("web").await;
    assert_eq!(status.0["observedGeneration"], 1);
    assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    let actions = server.pull("web", 10, Duration::from_secs(10)).await;
    assert_eq!(actions.len(), 1, "{actions:?}");

    // What people see.
    let get = ["get", "segsrc", "-n", &namespace, "web", "--no-headers"];
    let line = api.kubectl(&get, "").await.exits(0).out;
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..4], ["web", "True", "Ready", path.as_str()], "{line}");
    let wide = [&get[..], &["-o", "wide"]].concat();
    let line = api.kubectl(&wide, "").await.exits(0).out;
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[5..8], ["True", "True", "True"], "{line}");
    assert!(line.contains(&format!("https://events.example.com{path}")), "{line}");
    let told = ["Normal Accepted", "Normal SecretFound", "Warning SecretNotFound"];
    sources.until_events("web", &told).await;

    // Another edit is another generation, one revision, and one more Event.
    sources.source("web", json!({"mappings": []})).await;
    let status = sources.until_ready("web").await;
    assert_eq!(status.0["observedGeneration"], 2);
    let told =
        ["Normal Accepted", "Normal Accepted", "Normal SecretFound", "Warning SecretNotFound"];
    sources.until_events("web", &told).await;
    let revisions = sources.revisions("web").await;
    assert_eq!(revisions.iter().map(|it| it.revision).collect::<Vec<_>>(), [2]);
    assert!(!operator.log().contains(segment_source_tests::sign::SECRET), "a secret is in the log");
}
