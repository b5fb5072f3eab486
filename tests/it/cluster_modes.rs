//! Both modes on a whole cluster: installed by Helm into a namespace with Pod Security `restricted`,
//! configured by the examples of the documentation, and a recorded Segment request goes from the
//! Service to a consumer.

use std::{fs, time::Duration};

use segment_source_tests::{
    admission,
    capture::{capture_spec, captures, expected},
    http::{Connection, Request, call},
    process::root,
    release::{Mode, Release, shared},
    server::signed,
    sign::{SECRET, fresh_id, track},
    wait::eventually,
};
use serde_json::{Value, json};
use tonic::Code;

#[tokio::test]
async fn single_works() {
    works(Mode::Single).await;
}

#[tokio::test]
async fn distributed_works() {
    works(Mode::Distributed).await;
}

async fn works(mode: Mode) {
    let Some(cluster) = shared().await else { return };
    let release = Release::new(cluster, mode).await;
    release.install(&["publicUrl=https://hooks.example.com"]).await;
    captured_request(&release, mode).await;
    examples(&release).await;
    internal_client(&release).await;
    health(&release, mode).await;
}

/// A request as Segment sent it becomes the action that is expected; people read it back in the pod.
async fn captured_request(release: &Release<'_>, mode: Mode) {
    let (captures, _) = captures();
    let capture = &captures["02-identify"];
    let secret = capture.secret.as_deref().expect("it is signed");
    release.apply_secret("captures", &[("key", secret)]).await;
    let mut spec = capture_spec();
    spec["verification"] = json!({"secretRefs": [{"name": "captures", "key": "key"}]});
    release.apply(segment_source_tests::manifest::source("captures", spec)).await;
    release.until("captures", "condition=Ready").await;
    let status = release.kubectl(&["get", "segmentsource", "captures", "--output=json"]).await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let path = format!("/v1/sources/{}/captures", release.namespace);
    assert_eq!(status["status"]["ingestPath"], json!(path));
    assert_eq!(status["status"]["url"], json!(format!("https://hooks.example.com{path}")));

    let http = release.http().await;
    assert_eq!(call(http.address, &capture.request(&path)).await.counts(), (1, 0));
    assert_eq!(call(http.address, &capture.request(&path)).await.counts(), (0, 1));
    let expected = &expected()["02-identify"]["reject"].events[0];
    let action = &expected.actions[0];
    let source = format!("{}/captures", release.namespace);
    let pod = format!("statefulset/{}", mode.store());
    let command = |words: &[&str]| {
        let start = ["exec", &pod, "--", "/segment-source", "--output=json"].map(str::to_owned);
        [&start[..], &words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()].concat()
    };
    let pull = command(&["actions", "pull", "--source", &source]);
    let pull: Vec<&str> = pull.iter().map(String::as_str).collect();
    let pulled = eventually("the action is there", || async {
        let said = release.kubectl(&pull).await;
        let line = said.lines().next()?;
        Some(serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{said} is no JSON")))
    })
    .await;
    let text = pulled.to_string();
    assert!(text.contains(&action.action) && text.contains(&action.mapping), "{text}");
    let list = command(&["events", "list", "--source", &source]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let said = release.kubectl(&list).await;
    assert!(said.contains(&expected.key) && said.contains(&expected.event_type), "{said}");
}

/// Every example, with the Secrets that it names, is in service.
async fn examples(release: &Release<'_>) {
    for (name, keys) in [
        (
            "segment-web",
            &[
                ("signing-secret", SECRET),
                ("batch-token", "not-a-real-batch-token"),
                ("reader", "not-a-real-token-of-the-reader"),
            ][..],
        ),
        ("segment-web-2026", &[("signing-secret", SECRET)]),
        ("segment-shop", &[("signing-secret", SECRET)]),
        ("knock", &[("api-key", "not-a-real-key")]),
        ("crm", &[("signing-secret", "not-a-real-secret"), ("archive", "nor-is-this")]),
        ("segment-shop-clients", &[("billing", "not-a-real-token-of-the-billing-of-the-shop")]),
    ] {
        release.apply_secret(name, keys).await;
    }
    let clients = [
        ("worker", "not-a-real-token-of-the-worker-in-tests"),
        ("billing", "not-a-real-token-of-the-billing-in-tests"),
    ];
    release.apply_secret("segment-web-clients", &clients).await;
    // The last one is in service when the next step begins.
    let tried = ["small", "full", "batches", "rotation", "directory", "knock", "http", "access"];
    for example in tried {
        let is_it = |(name, _): &(String, Value)| name == example;
        let (_, example) = admission::examples().into_iter().find(is_it).expect("a source");
        let name = example["metadata"]["name"].as_str().expect("a name").to_owned();
        release.apply(example).await;
        let get = ["get", "segmentsource", &name, "--output=jsonpath={.metadata.generation}"];
        let generation = release.kubectl(&get).await;
        release
            .until(&name, &format!("jsonpath={{.status.observedGeneration}}={generation}"))
            .await;
        release.until(&name, "condition=Ready").await;
    }
    let listed = fs::read_dir(root().join("docs/examples")).expect("examples").count();
    assert_eq!(listed, tried.len(), "an example is not tried here");
}

/// A program of one's own with an access token, over TLS.
async fn internal_client(release: &Release<'_>) {
    let web = (release.namespace.as_str(), "web");
    let id = fresh_id();
    let body = track(&id, "u1", "Invoice Paid").to_string();
    let request = signed(&format!("/v1/sources/{}/web", release.namespace), &body);
    let http = release.http().await;
    assert_eq!(call(http.address, &request).await.counts(), (1, 0));
    let worker = release.grpc("not-a-real-token-of-the-worker-in-tests").await;
    let taken = worker.drain(web).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].mapping, "invoice");
    // It may take actions of this source, and no more.
    let denied = worker.events(web).await.expect_err("it may not read").code();
    assert_eq!(denied, Code::PermissionDenied);
    let shop = (release.namespace.as_str(), "shop");
    let denied = worker.pull(shop, 1, Duration::ZERO).await.expect_err("it is not its own").code();
    assert_eq!(denied, Code::PermissionDenied);
    let nobody = release.grpc("not-a-real-token-of-anybody").await;
    let denied = nobody.pull(web, 1, Duration::ZERO).await.expect_err("nobody knows it").code();
    assert_eq!(denied, Code::Unauthenticated);
    let billing = release.grpc("not-a-real-token-of-the-billing-in-tests").await;
    let events = billing.events(web).await.expect("it may read");
    assert!(events.iter().any(|event| event.key == id), "{events:?}");
}

/// No container was started twice, and every pod says that it is ready and counts.
async fn health(release: &Release<'_>, mode: Mode) {
    let path = "--output=jsonpath={range .items[*]}{.metadata.name} {.status.podIP} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let pods = release.kubectl(&["get", "pods", path]).await;
    let count = pods.lines().count();
    assert_eq!(count, if mode == Mode::Single { 3 } else { 5 }, "{pods}");
    for pod in pods.lines() {
        let [name, ip, restarts] = pod.split(' ').collect::<Vec<_>>()[..] else { panic!("{pods}") };
        assert_eq!(restarts, "0", "{pods}");
        let admin = release.forward(format!("{ip}:9091").parse().expect("an address")).await;
        for page in ["/live", "/ready", "/metrics"] {
            let mut connection = Connection::open(admin.address).await.expect("it listens");
            let reply = connection.call(&Request::new("GET", page)).await.expect("it answers");
            assert_eq!(reply.status, 200, "{name}{page}: {}", reply.text());
            assert!(page != "/metrics" || reply.text().contains("segment_source_"), "{name}");
        }
    }
}
