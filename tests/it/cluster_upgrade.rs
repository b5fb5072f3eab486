//! Upgraded from a version that knows schema levels 1 and 2 only, while somebody sends all the time: what
//! the old pods can do goes on, what they cannot is refused until the new ones are there, and no
//! event is lost or doubled.

use std::time::Instant;

use segment_source_tests::{
    http::{Request, call},
    manifest::{signing_secret, source, welcome_mapping},
    prober::Prober,
    release::{Mode, Release, image, shared, timing},
    server::signed,
    sign::{fresh_id, track},
};
use serde_json::{Value, json};

#[tokio::test]
async fn single_is_upgraded() {
    upgraded(Mode::Single).await;
}

#[tokio::test]
async fn distributed_is_upgraded() {
    upgraded(Mode::Distributed).await;
}

async fn upgraded(mode: Mode) {
    let Some(cluster) = shared().await else { return };
    cluster.import_image(&image("older").await).await;
    let release = Release::new(cluster, mode).await;
    release.install(&["image.tag=0.0.9"]).await;
    release.apply(signing_secret()).await;
    release.apply(source("web", json!({"mappings": [welcome_mapping()]}))).await;
    release.until("web", "condition=Ready").await;
    let http = release.http().await;
    let prober = Prober::start(http.address, &format!("/v1/sources/{}/web", release.namespace));
    prober.more(50).await;

    // Level 3: the old pods that it concerns say no, and only to this one.
    let token = "not-a-real-token-of-the-worker-in-tests";
    release.apply_secret("clients", &[("worker", token)]).await;
    let reference = json!({"name": "clients", "key": "worker"});
    let access = json!([{"name": "worker", "tokenSecretRef": reference, "can": ["Consume"]}]);
    let spec = json!({
        "mappings": [welcome_mapping()], "access": access, "retention": {"age": "24h"},
    });
    release.apply(source("partner", spec)).await;
    let reason = "jsonpath={.status.conditions[?(@.type==\"Programmed\")].reason}=Refused";
    release.until("partner", reason).await;
    let programmed = condition(&release, "partner").await;
    assert_eq!(programmed["status"], json!("False"), "{programmed}");
    let message = programmed["message"].as_str().unwrap_or_default();
    assert!(message.contains(mode.store()) && message.contains("upgrade"), "{message}");
    assert_eq!(condition(&release, "web").await["status"], json!("True"));
    let refused = call(http.address, &event(&release, "partner")).await;
    refused.assert_heals();
    prober.more(50).await;

    let since = Instant::now();
    release.upgrade(&["image.tag=0.1.0"]).await;
    release.until("partner", "condition=Ready").await;
    timing(&format!("upgrade until what is new is in service, mode {}", mode.name()), since);
    assert_eq!(call(http.address, &event(&release, "partner")).await.counts(), (1, 0));
    let partner = (release.namespace.as_str(), "partner");
    assert_eq!(release.grpc(token).await.drain(partner).await.len(), 1);
    prober.more(50).await;
    release.nothing_lost_or_doubled(prober, "web").await;
}

/// The condition `Programmed` of a source.
async fn condition(release: &Release<'_>, source: &str) -> Value {
    let said = release.kubectl(&["get", "segmentsource", source, "--output=json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let conditions = said["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|it| it["type"] == "Programmed");
    found.unwrap_or_else(|| panic!("{source} has no condition Programmed: {said}"))
}

/// A fresh event.
fn event(release: &Release<'_>, source: &str) -> Request {
    let body = track(&fresh_id(), "u1", "Signed Up").to_string();
    signed(&format!("/v1/sources/{}/{source}", release.namespace), &body)
}
