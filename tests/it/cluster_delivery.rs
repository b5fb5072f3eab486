//! Delivery on a whole cluster: a recorded identify becomes a profile in the directory, a recorded
//! track one call to Knock, and so it stays while pods are upgraded and killed and somebody sends
//! all the time.

use std::collections::{BTreeMap, BTreeSet};

use segment_source_tests::{
    capture::{capture_spec, captures},
    http::call,
    knock::Contract,
    manifest::{signing_secret, source, welcome_mapping},
    prober::Prober,
    release::{Mode, Release, shared, timing},
    sink::{Answer, Asked, Sink},
    wait::eventually,
};
use serde_json::{Value, json};

#[tokio::test]
async fn single_delivers() {
    delivers(Mode::Single).await;
}

#[tokio::test]
async fn distributed_delivers() {
    delivers(Mode::Distributed).await;
}

async fn delivers(mode: Mode) {
    let Some(cluster) = shared().await else { return };
    let knock = Sink::on(cluster.listen().await, None, |_| Answer::status(200));
    let release = Release::new(cluster, mode).await;
    release.install(&[&format!("allowDestinations={{{}/32}}", knock.address.ip())]).await;
    release.apply_secret("knock", &[("key", "not-a-real-key")]).await;
    let to_knock = |mut spec: Value| {
        let reference = json!({"name": "knock", "key": "key"});
        let base = knock.url("/v1");
        spec["destinations"] =
            json!([{"name": "notify", "knock": {"apiKeySecretRef": reference, "baseUrl": base}}]);
        for mapping in spec["mappings"].as_array_mut().into_iter().flatten() {
            if !mapping["action"]["workflowsTrigger"].is_null() {
                mapping["destination"] = json!("notify");
            }
        }
        spec
    };
    // Recorded requests, each by its own sender's secret.
    let (captures, _) = captures();
    let [identify, track] = ["02-identify", "01-track"].map(|it| &captures[it]);
    let secret = identify.secret.as_deref().expect("it is signed");
    assert_eq!(track.secret.as_deref(), Some(secret));
    release.apply_secret("captures", &[("key", secret)]).await;
    let mut spec = to_knock(capture_spec());
    spec["verification"] = json!({"secretRefs": [{"name": "captures", "key": "key"}]});
    spec.as_object_mut().expect("a spec").remove("defaultDestination");
    release.apply(source("captures", spec)).await;
    release.apply(signing_secret()).await;
    release.apply(source("web", to_knock(json!({"mappings": [welcome_mapping()]})))).await;
    release.until("captures", "condition=Ready").await;
    release.until("web", "condition=Ready").await;

    let http = release.http().await.keep();
    let path = format!("/v1/sources/{}/captures", release.namespace);
    assert_eq!(call(http, &identify.request(&path)).await.counts(), (1, 0));
    assert_eq!(call(http, &track.request(&path)).await.counts(), (1, 0));
    let profile = profile(&release, &user(&identify.request.body)).await;
    let sent: Value = serde_json::from_str(&identify.request.body).expect("JSON");
    assert_eq!(profile["properties"]["email"], sent["traits"]["email"], "{profile}");
    let orders = |asked: Vec<Asked>| {
        let orders = "/v1/workflows/order-completed/trigger";
        asked.into_iter().filter(|asked| asked.target == orders).collect::<Vec<_>>()
    };
    let called = || async { orders(knock.asked()).pop() };
    let called = eventually("Knock is called", called).await;
    assert_eq!(called.json()["recipients"], json!([user(&track.request.body)]));

    let prober = Prober::start(http, &format!("/v1/sources/{}/web", release.namespace));
    prober.more(50).await;
    let since = std::time::Instant::now();
    release.upgrade(&["podAnnotations.upgraded=now"]).await;
    timing(&format!("rolling upgrade while delivering, mode {}", mode.name()), since);
    prober.more(50).await;
    let pod = format!("{}-0", mode.store());
    release.kill_container(&pod).await;
    prober.more(50).await;
    release.kill_pod(&pod, &format!("statefulset/{}", mode.store())).await;
    prober.more(50).await;

    // The same requests again are repeats, and do nothing.
    assert_eq!(call(http, &identify.request(&path)).await.counts(), (0, 1));
    assert_eq!(call(http, &track.request(&path)).await.counts(), (0, 1));
    let sent = prober.stop().await;
    let all = || async {
        let called = welcomed(&knock.asked());
        sent.accepted.iter().all(|id| called.contains_key(id)).then_some(called)
    };
    let called = eventually("every event is told to Knock", all).await;
    let accepted: BTreeSet<&String> = sent.accepted.iter().collect();
    let mut again = 0;
    for (id, calls) in &called {
        assert!(accepted.contains(id), "{id} was never accepted");
        again += calls.len() - 1;
        let same = calls.iter().all(|it| it == &calls[0]);
        assert!(same, "a repeated call has the same key and bytes: {calls:?}");
    }
    let keys: BTreeSet<_> = called.values().map(|calls| &calls[0].0).collect();
    assert_eq!(keys.len(), accepted.len(), "each event has a key of its own");
    // Only what was under way when a pod was killed may be told again.
    assert!(again <= 2 * UNDER_WAY, "{again} calls were repeated");
    assert_eq!(orders(knock.asked()).len(), 1);
    timing(&format!("{} events, {again} calls repeated", accepted.len()), since);
    let contract = Contract::read();
    for asked in knock.asked() {
        let taken = contract.judge_asked(&asked);
        taken.unwrap_or_else(|why| panic!("Knock would not take {asked:?}: {why}"));
    }
    release.uninstall().await;
}

/// `delivery.concurrency` as it is by default.
const UNDER_WAY: usize = 64;

/// Who did it.
fn user(event: &str) -> String {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["userId"].as_str().expect("a userId").to_owned()
}

/// What a person sees of a user in the pod.
async fn profile(release: &Release<'_>, user: &str) -> Value {
    let (pod, source) = (
        format!("statefulset/{}", release.mode().store()),
        format!("{}/captures", release.namespace),
    );
    let command = ["exec", &pod, "--", "/segment-source", "--output=json", "directory"];
    eventually("the profile is there", || async {
        let list = [&command[..], &["list", "users", "--source", &source]].concat();
        let said = release.kubectl(&list).await;
        let mut users = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        users.find(|it| it["key"]["id"] == user && it["missing"] == false)
    })
    .await
}

/// Idempotency key and body of each welcome, by the user, who is the messageId.
fn welcomed(asked: &[Asked]) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let mut calls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for asked in asked.iter().filter(|it| it.target == "/v1/workflows/welcome/trigger") {
        let body = asked.json();
        let user = body["recipients"][0].as_str().expect("a recipient").to_owned();
        let key = asked.header("idempotency-key").to_owned();
        calls.entry(user).or_default().push((key, asked.body.clone()));
    }
    calls
}
