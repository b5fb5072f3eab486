//! Ending in good order: SIGTERM under load loses no answered event, takes no longer than allowed,
//! and exits with 0.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use segment_source_tests::{
    manifest::welcome_mapping,
    read::{pull_request, queue_name},
    server::webhook,
    site::Site,
    wait::{eventually, soon},
};
use serde_json::json;

use crate::load::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_no_answered_event() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let mut answered = Vec::new();
    for round in 0..4 {
        let mut server = site.start().await;
        let load = Load::start(server.http, 16);
        eventually("events are accepted", || async { (load.accepted() > 50).then_some(()) }).await;
        if round % 2 == 0 {
            server.terminate()
        } else {
            server.interrupt()
        }
        let status = server.ended().await;
        let answers = load.stop().await;
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
        answered.extend(answers.accepted);
    }
    let server = site.start().await;
    let events = server.events("web").await;
    let there: BTreeSet<&String> = events.iter().map(|event| &event.key).collect();
    assert_eq!(there.len(), events.len(), "nothing is there twice");
    let lost = answered.iter().filter(|id| !there.contains(id)).count();
    assert_eq!(lost, 0, "of {}", answered.len());
}

/// Whoever holds on to a connection does not hold up the stop for longer than its bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_nobody_longer_than_its_bound() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let mut server = site.launch().flag("drain", "2s").start().await;
    let mut half = segment_source_tests::http::Connection::open(server.http).await.expect("open");
    let bytes = webhook("web").body("{\"type\":").bytes();
    half.send(&bytes[..bytes.len() - 2]).await.expect("sent");
    let mut queue = server.queue().await;
    let pull = tokio::spawn(async move {
        queue.pull(pull_request("web", 1, Duration::from_secs(60))).await.map(|_| ())
    });
    let mut consumer = server.queue().await;
    let start = segment_source_proto::queue::v1::Start {
        queue: Some(queue_name("web")),
        credits: 10,
        lease: None,
        consumer: String::new(),
        expand_recipients: false,
    };
    let start = segment_source_proto::queue::v1::consume_request::Request::Start(start);
    let (_requests, stream) = {
        let (requests, stream) = tokio::sync::mpsc::channel(1);
        let first = segment_source_proto::queue::v1::ConsumeRequest { request: Some(start) };
        requests.send(first).await.expect("there is room");
        (requests, tokio_stream::wrappers::ReceiverStream::new(stream))
    };
    let _responses = soon("it opens", consumer.consume(stream)).await.expect("it opens");
    let before = Instant::now();
    server.terminate();
    let status = server.ended().await;
    assert!(before.elapsed() < Duration::from_secs(10), "it took {:?}", before.elapsed());
    assert_eq!(status.code(), Some(0), "{}", server.log());
    _ = soon("the pull ends", pull).await;
}
