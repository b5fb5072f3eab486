//! Lanes: order inside one user's actions, whatever several consumers do, and nobody else waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use segment_source_proto::queue::v1::settlement_result::Status;
use segment_source_tests::{
    manifest::welcome_mapping,
    read::{ack, retry},
    server::Server,
    sign::{fresh_id, track},
    site::Site,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn send(server: &Server, user: &str, n: usize) {
    let mut event = track(&fresh_id(), user, "Signed Up");
    event["properties"] = json!({"n": n});
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
}

/// User and number of a delivery.
fn what(payload: &[u8]) -> (String, u64) {
    let payload: Value = serde_json::from_slice(payload).expect("JSON");
    let user = payload["recipients"][0].as_str().expect("a recipient").to_owned();
    (user, payload["data"]["n"].as_u64().expect("a number"))
}

#[tokio::test]
async fn one_user_has_one_action_out_at_a_time() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let server = site.start().await;
    for n in 0..5 {
        send(&server, "user-1", n).await;
    }
    for n in 0..5 {
        let taken = server.pull("web", 100, Duration::from_secs(20)).await;
        assert_eq!(taken.len(), 1);
        assert_eq!(what(&taken[0].payload_json), ("user-1".into(), n));
        assert!(server.pull("web", 100, Duration::ZERO).await.is_empty());
        assert_eq!(server.settle(vec![ack(&taken[0])]).await, [Status::Settled]);
    }
}

#[tokio::test]
async fn order_in_a_lane_holds_with_several_consumers_and_retries() {
    const USERS: usize = 8;
    const EVENTS: usize = 12;
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let server = Arc::new(site.start().await);
    for n in 0..EVENTS {
        for user in 0..USERS {
            send(&server, &format!("user-{user}"), n).await;
        }
    }
    let done: Arc<Mutex<BTreeMap<String, Vec<u64>>>> = Arc::default();
    let out: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let mut consumers = JoinSet::new();
    for consumer in 0..4 {
        let (server, done, out) = (server.clone(), done.clone(), out.clone());
        consumers.spawn(async move {
            let mut turn = consumer;
            loop {
                let total: usize = done.lock().expect("unlocked").values().map(Vec::len).sum();
                if total == USERS * EVENTS {
                    return;
                }
                for delivery in server.pull("web", 3, Duration::from_millis(200)).await {
                    let (user, n) = what(&delivery.payload_json);
                    let alone = out.lock().expect("unlocked").insert(user.clone());
                    assert!(alone, "two actions of {user} are out");
                    tokio::task::yield_now().await;
                    out.lock().expect("unlocked").remove(&user);
                    turn += 1;
                    if turn % 5 == 0 {
                        let delay = Duration::from_millis(20);
                        let settled = server.settle(vec![retry(&delivery, delay)]).await;
                        assert_eq!(settled, [Status::Settled]);
                    } else {
                        done.lock().expect("unlocked").entry(user).or_default().push(n);
                        assert_eq!(server.settle(vec![ack(&delivery)]).await, [Status::Settled]);
                    }
                }
            }
        });
    }
    segment_source_tests::wait::soon("everything is consumed", async {
        while let Some(ended) = consumers.join_next().await {
            ended.expect("no consumer panics");
        }
    })
    .await;
    let expected: Vec<u64> = (0..EVENTS as u64).collect();
    for (user, got) in done.lock().expect("unlocked").iter() {
        assert_eq!(got, &expected, "{user}");
    }
}

#[tokio::test]
async fn the_lane_is_the_user_or_the_visitor_or_the_event_itself() {
    let site = Site::with_web(json!({"mappings": [{
        "name": "m", "eventType": "track/E",
        "action": {"workflowsTrigger": {"workflow": "w", "recipients": {"value": ["someone"]}}},
    }]}));
    let server = site.start().await;
    let event = |user: Value, visitor: Value| {
        json!({"type": "track", "event": "E", "messageId": fresh_id(),
               "userId": user, "anonymousId": visitor})
    };
    for (user, visitor) in [
        // Two lanes of one user each.
        (json!("a"), json!("v1")),
        (json!("a"), json!("v2")),
        (json!("b"), json!("v1")),
        // A visitor's, twice: null and "" are no user.
        (json!(null), json!("v1")),
        (json!(""), json!("v1")),
        // Nobody's: each a lane of its own.
        (json!(null), json!(null)),
        (json!(""), json!("")),
    ] {
        let body = event(user, visitor).to_string();
        assert_eq!(server.post("web", body).await.counts(), (1, 0));
    }
    assert_eq!(drain_round(&server, 5).await, 5, "a, b, v1 and two of nobody");
    assert_eq!(drain_round(&server, 2).await, 2, "the second of a and of v1");
    assert!(server.pull("web", 100, Duration::ZERO).await.is_empty());
}

/// Takes until `count` leases are held at once, checks for more, and acks all.
async fn drain_round(server: &Server, count: usize) -> usize {
    let mut held = Vec::new();
    while held.len() < count {
        let taken = server.pull("web", 100, Duration::from_secs(20)).await;
        assert!(!taken.is_empty(), "only {} of {count} can be held at once", held.len());
        held.extend(taken);
    }
    held.extend(server.pull("web", 100, Duration::from_millis(300)).await);
    for status in server.settle(held.iter().map(ack).collect()).await {
        assert_eq!(status, Status::Settled);
    }
    held.len()
}
