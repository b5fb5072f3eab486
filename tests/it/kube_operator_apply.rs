//! Sources that go and come back while requests arrive, and stored objects that are none.

use kube::api::{Patch, PatchParams};
use segment_source_proto::config::v1::source_state::State;
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::{source, welcome_mapping},
    prober::Prober,
    sign::{fresh_id, track},
    site::Site,
    sources::{self, Sources},
    wait::eventually,
    watcher::Watcher,
};
use serde_json::{Value, json};

fn body(id: &str) -> String {
    track(id, "user-1", "Signed Up").to_string()
}

#[tokio::test]
async fn deleted_and_applied_again_under_load_nothing_is_lost_or_doubled() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "again").await;
    sources.signing_secret().await;
    let spec = || json!({"mappings": [welcome_mapping()]});
    sources.source("web", spec()).await;
    let operator = sources.operator("one").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    let prober = Prober::start(server.http, &server.target("web"));
    for _ in 0..3 {
        prober.more(3).await;
        let known = prober.sent().accepted.pop().expect("some were accepted");
        sources.delete("web").await;
        eventually("the replica hears of it", || async {
            (server.post("web", body(&fresh_id())).await.status == 503).then_some(())
        })
        .await;
        sources.source("web", spec()).await;
        sources.until_ready("web").await;
        prober.more(1).await;
        assert_eq!(server.post("web", body(&known)).await.counts(), (0, 1), "it is forgotten");
    }
    let sent = prober.stop().await;
    assert_eq!((sent.unanswered, sent.duplicates), (0, 0), "{sent:?}");
    assert!(sent.refused() > 0, "it was never away");
    let last = sent.accepted.last().expect("some were accepted");
    assert_eq!(server.planned_one("web", last).await.actions.len(), 1);

    sources.delete("web").await;
    eventually("it is gone", || async {
        let reply = server.post("web", body(&fresh_id())).await;
        (reply.status == 503).then(|| reply.assert_heals())
    })
    .await;
}

/// The broken object is older than the schema that would refuse it.
#[tokio::test]
async fn a_malformed_stored_object_harms_nobody() {
    let Some(api) = ApiServer::start(Version::Newest).await else { return };
    sources::install_loose(&api).await;
    let sources = Sources::within(&api, "malformed").await;
    let broken = [
        ("is-text", json!("all of it")),
        ("is-number", json!({"verification": 7, "mappings": "none"})),
        ("is-partly", json!({"verification": {"secretRefs": [{"name": 1}]}, "mappings": [{}]})),
    ];
    for (name, spec) in &broken {
        let mut object = source(name, json!({}));
        object["spec"] = spec.clone();
        sources.apply(&[object]).await;
    }
    let mut object = source("is-nothing", json!({}));
    object.as_object_mut().expect("an object").remove("spec");
    sources.apply(&[object]).await;
    sources.signing_secret().await;
    sources.source("web", json!({"mappings": [welcome_mapping()]})).await;
    sources::install(&api).await;

    let operator = sources.operator("one").ready().await;
    let mut watcher = Watcher::until_open(operator.grpc, "by-hand", 2).await;
    let (states, synced) = watcher.until_synced().await;
    watcher.ack(synced.version);
    let loaded = states.iter().filter(|it| matches!(it.state, Some(State::Loaded(_)))).count();
    assert_eq!((states.len(), loaded), (5, 1), "{states:?}");
    drop(watcher);
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    assert_eq!(server.post("web", body(&fresh_id())).await.counts(), (1, 0));
    server.post("is-text", body(&fresh_id())).await.assert_heals();
    sources.until_ready("web").await;
    let names: Vec<&str> = broken.iter().map(|it| it.0).chain(["is-nothing"]).collect();
    for name in &names {
        let log = operator.log();
        assert!(log.contains(&format!("{}/{name}", sources.namespace)), "{name} is not told");
    }
    // Beside some broken specs the API server takes no status; of those the log and the metrics
    // tell.
    for name in ["is-partly", "is-nothing"] {
        let said = "Accepted=False/Unreadable Ready=False/Unreadable Stalled=True/Unreadable";
        let status = sources.until(name, said).await;
        assert!(status.message("Accepted").contains("kubectl replace"));
    }
    assert_eq!(operator.metric("sources{state=\"unreadable\"}").await, 4.0);

    // Others go on, and what is put right is served.
    sources.source("web", json!({"mappings": []})).await;
    sources.until_ready("web").await;
    // Server-side apply refuses whatever is malformed already; replacing it does not.
    let right = Patch::Merge(json!({"spec": source("is-number", json!({}))["spec"]}));
    let patched = sources.all().patch("is-number", &PatchParams::default(), &right).await;
    patched.expect("it is put right");
    sources.until_ready("is-number").await;
    assert_eq!(server.post("is-number", body(&fresh_id())).await.counts(), (1, 0));
    sources.delete("is-text").await;
    let unreadable: Value = sources.get("is-partly").await;
    assert_eq!(unreadable["spec"], broken[2].1, "nobody changed it");
}
