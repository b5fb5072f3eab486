//! Edge and ingest as two processes, and the sockets each of them has.

use std::{process::Output, time::Duration};

use segment_source_proto::ingest::v1::{
    Submission, SubmitStreamRequest, submit_failure::Reason, submit_result::Outcome,
};
use segment_source_tests::{
    manifest::{NAMESPACE, identify_mapping, welcome_mapping},
    server::Launch,
    sign::{SECRET, batch, fresh_id, track},
    site::Site,
    tls::Authority,
    wait::soon,
};
use serde_json::json;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::test]
async fn two_processes_do_what_one_does() {
    let spec = json!({
        "verification": {"batches": {"policy": "WholeBody"}},
        "mappings": [identify_mapping(), welcome_mapping()],
    });
    let site = Site::with_web(spec);
    let ingest = site.launch().flag("role", "ingest").start().await;
    let store = site.path().join("edge").display().to_string();
    let edge = site.launch().flag("role", "edge").flag("store", &store);
    let edge = edge.flag("ingest", &ingest.grpc.to_string()).start().await;
    let id = fresh_id();
    let event = track(&id, "user-1", "Signed Up");
    assert_eq!(edge.post("web", event.to_string()).await.counts(), (1, 0));
    assert_eq!(edge.post("web", event.to_string()).await.counts(), (0, 1));
    // A batch larger than one message between the two may be.
    let filler = "x".repeat(6500);
    let events: Vec<_> = (0..2000)
        .map(|n| {
            let mut event = track(&fresh_id(), &format!("user-{n}"), "Signed Up");
            event["context"] = json!({"filler": filler});
            event
        })
        .collect();
    let (body, _) = batch(SECRET.as_bytes(), &events);
    assert!(body.len() > 12 << 20);
    assert_eq!(edge.post("web", &body).await.counts(), (2000, 0));
    assert_eq!(edge.post("web", &body).await.counts(), (0, 2000));
    let actions = ingest.drain("web", 2001).await;
    assert_eq!(actions.len(), 2001);
    assert!(ingest.pull("web", 1, Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn grpc_without_tls_does_not_leave_the_machine() {
    let site = Site::with_web(json!({}));
    let check = async |launch: Launch, part: &str| {
        let message = String::from_utf8_lossy(&refused(&launch).await.stderr).into_owned();
        assert!(message.contains(part) && message.contains("--tls"), "{message}");
    };
    check(site.launch().flag("grpc", "0.0.0.0:0"), "--grpc 0.0.0.0:0").await;
    let edge = site.launch().flag("role", "edge").flag("ingest", "192.0.2.1:9090");
    check(edge, "--ingest 192.0.2.1:9090").await;
    check(site.launch().flag("config", "http://192.0.2.1:9443"), "192.0.2.1:9443").await;
    check(site.launch().flag("config", "https://127.0.0.1:9443"), "--config https").await;

    let (authority, tls) = (Authority::new(), site.path().join("tls"));
    authority.write(&tls, &["edge"]);
    let launch = site.launch().flag("tls", &tls.display().to_string());
    check(launch.clone(), "the certificate is for `edge`").await;
    authority.write(&tls, &["edge", "ingest"]);
    launch.flag("grpc", "0.0.0.0:0").start().await;
}

#[tokio::test]
async fn with_certificates_two_processes_know_each_other() {
    let site = Site::with_web(json!({}));
    let authority = Authority::new();
    let folder = |name: &str| site.path().join(name).display().to_string();
    authority.write(&site.path().join("tls-ingest"), &["ingest"]);
    authority.write(&site.path().join("tls-edge"), &["edge"]);
    let ingest = site.launch().flag("role", "ingest").flag("tls", &folder("tls-ingest"));
    let ingest = ingest.start().await;
    let edge = |tls: &str| {
        let edge = site.launch().flag("role", "edge").flag("store", &folder("edge"));
        edge.flag("ingest", &ingest.grpc.to_string()).flag("tls", &folder(tls))
    };
    let running = edge("tls-edge").start().await;
    let event = track(&fresh_id(), "user-1", "Signed Up").to_string();
    assert_eq!(running.post("web", &event).await.counts(), (1, 0));
    assert_eq!(running.post("web", &event).await.counts(), (0, 1));

    // One of another authority does not reach it, nor does one without TLS.
    Authority::new().write(&site.path().join("tls-other"), &["edge"]);
    let other = edge("tls-other").unready().start().await;
    other.logged("a line about TLS", |line| line.contains("could not be reached")).await;
    other.post("web", &event).await.assert_heals();
    let endpoint = Endpoint::from_shared(format!("http://{}", ingest.grpc)).expect("a URI");
    let mut plain = HealthClient::new(endpoint.connect_lazy());
    plain.check(HealthCheckRequest::default()).await.expect_err("it speaks TLS");
}

#[tokio::test]
async fn a_second_process_on_the_same_store_is_refused() {
    let site = Site::with_web(json!({}));
    let mut first = site.start().await;
    let output = refused(&site.launch()).await;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("store"), "{message}");
    first.assert_healthy(300 << 20).await;
    // The lock dies with its process.
    first.kill();
    site.start().await;
}

async fn refused(launch: &Launch) -> Output {
    let mut command = tokio::process::Command::from(launch.command());
    let output = soon("it refuses to start", command.kill_on_drop(true).output()).await;
    let output = output.expect("it runs");
    assert!(!output.status.success(), "it started");
    output
}

fn submission(source: &str, receipt: u8, body: &str) -> Submission {
    Submission {
        namespace: NAMESPACE.into(),
        name: source.into(),
        receipt: vec![receipt; 16].into(),
        body: body.as_bytes().to_vec().into(),
        verdict: segment_source_proto::event::v1::Verdict::VerifiedBody.into(),
        covered: true,
        ..Submission::default()
    }
}

/// The contract of SubmitStream, from the outside: order, receipts, and what it refuses.
#[tokio::test]
async fn a_stream_answers_each_batch_once_and_remembers_receipts() {
    let site = Site::with_web(json!({}));
    let server = site.start().await;
    let keyless = json!({"type": "identify", "userId": "u"}).to_string();
    let mut keyless_submission = submission("web", 1, &keyless);
    let short = {
        keyless_submission.receipt = vec![7; 3].into();
        std::mem::replace(&mut keyless_submission, submission("web", 1, &keyless))
    };
    let requests = vec![
        SubmitStreamRequest { sequence: 1, submissions: vec![keyless_submission.clone()] },
        SubmitStreamRequest { sequence: 2, submissions: vec![keyless_submission] },
        SubmitStreamRequest { sequence: 3, submissions: vec![submission("nowhere", 2, &keyless)] },
        SubmitStreamRequest { sequence: 4, submissions: vec![short] },
        SubmitStreamRequest { sequence: 5, submissions: vec![submission("web", 3, &keyless); 257] },
    ];
    let stream = tokio_stream::iter(requests);
    let mut ingest = server.ingest().await;
    let mut answers = ingest.submit_stream(stream).await.expect("the stream opens").into_inner();
    let mut got = std::collections::BTreeMap::new();
    while let Some(answer) = soon("answers", answers.message()).await.expect("the stream goes on") {
        assert!(got.insert(answer.sequence, answer).is_none(), "answered twice");
    }
    assert_eq!(got.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let first = &got[&1].results[0];
    assert_eq!(first.outcome(), Outcome::Accepted);
    assert_eq!(&got[&2].results[0], first, "the same receipt is the same event");
    assert_eq!(got[&3].results[0].outcome(), Outcome::UnknownSource);
    for sequence in [4, 5] {
        let failure = got[&sequence].failure.as_ref().expect("refused");
        assert_eq!(failure.reason(), Reason::Invalid, "{failure:?}");
    }
    assert_eq!(server.events("web").await.len(), 1);
}
