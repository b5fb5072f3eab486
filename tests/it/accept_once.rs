//! Once and only once: concurrent copies, copies in batches, scopes of a key, and its window.

use std::sync::Arc;

use segment_source_proto::admin::v1::Outcome;
use segment_source_tests::{
    http::{Connection, Reply},
    manifest::{identify_mapping, source, welcome_mapping},
    server::{Server, webhook},
    sign::{SECRET, batch, fresh_id, sign, track},
    site::Site,
};
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

const CONNECTIONS: usize = 16;

async fn start() -> (Site, Server) {
    let site = Site::with_web(json!({
        "verification": {"batches": {"policy": "WholeBody"}},
        "mappings": [identify_mapping(), welcome_mapping()],
    }));
    let server = site.start().await;
    (site, server)
}

/// Posts every body at the same time, spread over [`CONNECTIONS`] connections.
async fn at_once(server: &Server, bodies: Vec<Vec<u8>>) -> Vec<Reply> {
    let barrier = Arc::new(Barrier::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    for at in 0..CONNECTIONS {
        let bodies: Vec<Vec<u8>> = bodies.iter().skip(at).step_by(CONNECTIONS).cloned().collect();
        let (address, barrier) = (server.http, barrier.clone());
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await.expect("connected");
            barrier.wait().await;
            let mut replies = Vec::new();
            for body in bodies {
                let signature = sign(SECRET.as_bytes(), &body);
                let request = webhook("web").header("X-Signature", &signature).body(body);
                replies.push(connection.call(&request).await.expect("answered"));
            }
            replies
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

fn sum(replies: &[Reply]) -> (u64, u64) {
    replies.iter().map(Reply::counts).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

/// One accepted entry, `copies - 1` that refer to it, and one set of actions.
async fn assert_once(server: &Server, key: &str, copies: usize) {
    let entries = server.planned("web", key).await;
    assert_eq!(entries.len(), copies, "{key}");
    let (original, duplicates): (Vec<_>, Vec<_>) = entries
        .iter()
        .map(|entry| (entry, entry.event.as_ref().expect("a summary")))
        .partition(|(_, summary)| summary.duplicate_of.is_empty());
    let [(original, summary)] = original[..] else { panic!("{} originals", original.len()) };
    assert_eq!(original.actions.len(), 1, "{:#?}", original.actions);
    for (duplicate, its) in duplicates {
        assert_eq!(its.duplicate_of, summary.event_id);
        assert_eq!((its.outcome(), its.actions), (Outcome::Duplicate, 0));
        assert_eq!(duplicate.actions.len(), 0, "{:#?}", duplicate.actions);
    }
}

#[tokio::test]
async fn of_64_concurrent_copies_one_is_accepted() {
    let (_site, server) = start().await;
    for round in 0..5 {
        let id = fresh_id();
        let body = track(&id, "user-1", "Signed Up").to_string().into_bytes();
        let replies = at_once(&server, vec![body; 64]).await;
        assert_eq!(sum(&replies), (1, 63), "round {round}");
        assert_once(&server, &id, 64).await;
    }
    assert_eq!(server.drain("web", 5).await.len(), 5);
    assert!(server.pull("web", 10, std::time::Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn copies_inside_and_across_batches_are_one() {
    let (_site, server) = start().await;
    let (one, two) = (fresh_id(), fresh_id());
    let event = |id: &str| track(id, "user-1", "Signed Up");
    // Each batch holds each event twice, and each comes alone too: 16 x 5 copies at once.
    let bodies = (0..CONNECTIONS)
        .flat_map(|_| {
            let events: [Value; 4] = [event(&one), event(&two), event(&two), event(&one)];
            let (batch, _) = batch(SECRET.as_bytes(), &events);
            [batch, event(&one).to_string().into_bytes(), event(&two).to_string().into_bytes()]
        })
        .collect();
    let replies = at_once(&server, bodies).await;
    assert_eq!(sum(&replies), (2, 94));
    assert_once(&server, &one, 48).await;
    assert_once(&server, &two, 48).await;
    assert_eq!(server.drain("web", 2).await.len(), 2);
    assert!(server.pull("web", 10, std::time::Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn the_key_counts_per_source_and_event_type() {
    let (site, server) = start().await;
    site.write("shop.yaml", &[source("shop", json!({}))]);
    let id = fresh_id();
    let event = track(&id, "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    let other_type = track(&id, "user-1", "Signed Out").to_string();
    assert_eq!(server.post("web", &other_type).await.counts(), (1, 0));
    let reply = segment_source_tests::wait::eventually("the source is loaded", || async {
        let reply = server.post("shop", &event).await;
        (reply.status == 202).then_some(reply)
    });
    assert_eq!(reply.await.counts(), (1, 0), "another source");
    assert_eq!(server.post("web", &event).await.counts(), (0, 1));
    // The other contents of a repeat do not matter.
    let changed = track(&id, "user-2", "Signed Up").to_string();
    assert_eq!(server.post("web", &changed).await.counts(), (0, 1));
}

#[tokio::test]
async fn events_without_a_valid_key_are_never_duplicates() {
    let (_site, server) = start().await;
    let long = "k".repeat(256);
    for key in [json!(null), json!(""), json!(17), json!({}), json!(["a"]), json!(long)] {
        let mut event = track("", "user-1", "Signed Up");
        event["messageId"] = key.clone();
        for _ in 0..2 {
            assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0), "{key}");
            let newest = server.events("web").await.remove(0);
            assert_eq!(newest.key, "", "{key} is dropped from the log");
        }
    }
    let mut event = track("", "user-1", "Signed Up");
    event["messageId"] = json!("k".repeat(255));
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    assert_eq!(server.post("web", event.to_string()).await.counts(), (0, 1));
}

#[tokio::test]
async fn deduplication_can_be_switched_off() {
    let site = Site::with_web(json!({"idempotency": {"mode": "Disabled"}}));
    let server = site.start().await;
    let event = track(&fresh_id(), "user-1", "Signed Up").to_string();
    for _ in 0..3 {
        assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    }
}

#[tokio::test]
async fn keys_are_still_known_after_a_restart() {
    let (site, mut server) = start().await;
    let id = fresh_id();
    let event = track(&id, "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    server.kill();
    let server = site.start().await;
    assert_eq!(server.post("web", &event).await.counts(), (0, 1));
    assert_once(&server, &id, 2).await;
}
