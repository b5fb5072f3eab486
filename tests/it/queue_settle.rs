//! Pull and Settle: late, twice, with foreign tokens; retry, reject, extend; and waiting.

use std::time::{Duration, Instant};

use segment_source_proto::{
    admin::v1::{Outcome, action::State},
    queue::v1::{
        Extend, PullRequest, QueueName, SettleRequest, Settlement, settlement::Outcome as Settles,
        settlement_result::Status,
    },
};
use segment_source_tests::{
    clock::ago,
    manifest::welcome_mapping,
    read::{ack, duration, pull_request, queue_name, reject, retry, settlement},
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    wait::eventually,
};
use serde_json::json;

async fn start() -> (Site, Server) {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let server = site.start().await;
    (site, server)
}

async fn send(server: &Server, user: &str) -> String {
    let id = fresh_id();
    let event = track(&id, user, "Signed Up");
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    id
}

#[tokio::test]
async fn an_acked_action_is_gone_for_good() {
    let (site, mut server) = start().await;
    let id = send(&server, "user-1").await;
    let delivery = server.drain("web", 1).await.remove(0);
    assert_eq!(server.settle(vec![ack(&delivery)]).await, [Status::LeaseLost], "acked twice");
    let event = server.planned_one("web", &id).await;
    assert_eq!(event.actions[0].state(), State::Delivered);
    assert_eq!(event.event.expect("a summary").outcome(), Outcome::Delivered);
    server.kill();
    let server = site.start().await;
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty());
    assert_eq!(server.planned_one("web", &id).await.actions[0].state(), State::Delivered);
}

#[tokio::test]
async fn a_late_ack_changes_nothing_and_the_new_holder_is_right() {
    let (_site, server) = start().await;
    send(&server, "user-1").await;
    let mut request = pull_request("web", 1, Duration::from_secs(20));
    request.lease = Some(duration(Duration::from_secs(1)));
    let mut queue = server.queue().await;
    let first = queue.pull(request).await.expect("pulled").into_inner().deliveries.remove(0);
    let second = server.pull("web", 1, Duration::from_secs(20)).await.remove(0);
    assert_eq!((&second.action_id, second.attempt), (&first.action_id, 2));
    assert_eq!(server.settle(vec![ack(&first)]).await, [Status::LeaseLost]);
    assert_eq!(server.settle(vec![reject(&first, "too late")]).await, [Status::LeaseLost]);
    assert_eq!(server.settle(vec![ack(&second)]).await, [Status::Settled]);
}

#[tokio::test]
async fn tokens_that_were_never_given_out_settle_nothing() {
    let (_site, server) = start().await;
    let id = send(&server, "user-1").await;
    let delivery = server.pull("web", 1, Duration::from_secs(20)).await.remove(0);
    let with = |token: Vec<u8>| Settlement { token: token.into(), ..ack(&delivery) };
    let mut flipped = delivery.token.to_vec();
    flipped[0] ^= 1;
    let results = server
        .settle(vec![
            with(vec![0; delivery.token.len()]),
            with(flipped),
            with(delivery.action_id.clone().into_bytes()),
            with(Vec::new()),
            Settlement { token: delivery.token.clone(), outcome: None },
            retry(&delivery, Duration::from_secs(8 * 24 * 3600)),
            ack(&delivery),
        ])
        .await;
    assert_eq!(results[..2], [Status::LeaseLost; 2]);
    assert!(matches!(results[2], Status::LeaseLost | Status::Invalid), "{:?}", results[2]);
    assert_eq!(results[3..6], [Status::Invalid; 3]);
    assert_eq!(results[6], Status::Settled, "one that fails does not touch the others");
    assert_eq!(server.planned_one("web", &id).await.actions[0].state(), State::Delivered);
}

#[tokio::test]
async fn a_retry_waits_its_delay_and_no_other_lane_does() {
    let (_site, server) = start().await;
    let id = send(&server, "user-1").await;
    let first = server.pull("web", 1, Duration::from_secs(20)).await.remove(0);
    let delay = Duration::from_millis(1500);
    let before = Instant::now();
    assert_eq!(server.settle(vec![retry(&first, delay)]).await, [Status::Settled]);
    let waiting = server.planned_one("web", &id).await.actions.remove(0);
    assert_eq!((waiting.state(), waiting.attempts), (State::Pending, 1));
    assert!(waiting.not_before.is_some() && waiting.reason.contains("busy now"), "{waiting:?}");
    send(&server, "user-2").await;
    let other = server.pull("web", 10, Duration::from_secs(20)).await;
    assert_eq!(other.len(), 1);
    assert_ne!(other[0].action_id, first.action_id);
    // A long pull gets it as soon as it is due.
    let again = server.pull("web", 10, Duration::from_secs(20)).await;
    assert!(before.elapsed() >= delay, "it came {:?} after the retry", before.elapsed());
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    assert_eq!(again[0].payload_json, first.payload_json);
    assert_eq!(again[0].idempotency_key, first.idempotency_key);
}

#[tokio::test]
async fn a_rejected_action_is_a_dead_letter_with_its_reason() {
    let (site, mut server) = start().await;
    let id = send(&server, "user-1").await;
    send(&server, "user-1").await;
    let first = server.pull("web", 10, Duration::from_secs(20)).await.remove(0);
    assert_eq!(server.settle(vec![reject(&first, "no such workflow")]).await, [Status::Settled]);
    assert_dead(&server, &id).await;
    let next = server.pull("web", 10, Duration::from_secs(20)).await;
    assert_eq!(next.len(), 1, "the lane goes on");
    assert_ne!(next[0].action_id, first.action_id);
    server.kill();
    let server = site.start().await;
    assert_dead(&server, &id).await;
}

async fn assert_dead(server: &Server, id: &str) {
    let dead = server.planned_one("web", id).await;
    let action = &dead.actions[0];
    assert_eq!((action.state(), action.reason_code.as_str()), (State::Dead, "rejected"));
    assert!(action.reason.contains("no such workflow"), "{}", action.reason);
    assert_eq!(dead.event.as_ref().expect("a summary").outcome(), Outcome::Failed);
}

#[tokio::test]
async fn an_extended_lease_lasts() {
    let (_site, server) = start().await;
    send(&server, "user-1").await;
    let mut request = pull_request("web", 1, Duration::from_secs(20));
    request.lease = Some(duration(Duration::from_secs(1)));
    let mut queue = server.queue().await;
    let delivery = queue.pull(request).await.expect("pulled").into_inner().deliveries.remove(0);
    let longer = Extend { lease: Some(duration(Duration::from_secs(3600))) };
    let extend = settlement(&delivery, Settles::Extend(longer));
    let answer = queue.settle(SettleRequest { settlements: vec![extend] }).await.expect("settled");
    let result = answer.into_inner().results.remove(0);
    assert_eq!(result.status(), Status::Settled);
    let lasts = result.lease_expires.expect("it says how long").seconds;
    assert!(lasts > delivery.lease_expires.as_ref().expect("a lease ends").seconds + 3000);
    // Past its first end it is still held.
    assert!(server.pull("web", 1, Duration::from_secs(2)).await.is_empty());
    assert_eq!(server.settle(vec![ack(&delivery)]).await, [Status::Settled]);
}

#[tokio::test]
async fn a_pull_waits_for_what_comes_and_no_longer_than_asked() {
    let (_site, server) = start().await;
    assert!(server.pull("web", 1, Duration::ZERO).await.is_empty());
    let wait = Duration::from_millis(400);
    let before = Instant::now();
    assert!(server.pull("web", 1, wait).await.is_empty());
    assert!(before.elapsed() >= wait);
    let (pulled, _) =
        tokio::join!(server.pull("web", 1, Duration::from_secs(30)), send(&server, "user-1"));
    assert_eq!(pulled.len(), 1);
    assert_eq!(server.settle(vec![ack(&pulled[0])]).await, [Status::Settled]);
}

#[tokio::test]
async fn leases_do_not_survive_a_restart_and_their_actions_do() {
    let (site, mut server) = start().await;
    send(&server, "user-1").await;
    let first = server.pull("web", 1, Duration::from_secs(20)).await.remove(0);
    server.kill();
    let server = site.start().await;
    let again = eventually("it is given out again", || async {
        server.pull("web", 1, Duration::from_secs(5)).await.pop()
    })
    .await;
    assert_eq!(again.action_id, first.action_id);
    assert_eq!(server.settle(vec![ack(&first)]).await, [Status::LeaseLost]);
    assert_eq!(server.settle(vec![ack(&again)]).await, [Status::Settled]);
}

#[tokio::test]
async fn calls_out_of_bounds_are_refused_in_words() {
    let (_site, server) = start().await;
    let mut queue = server.queue().await;
    let valid = pull_request("web", 1, Duration::ZERO);
    let invalid = tonic::Code::InvalidArgument;
    let minute = Duration::from_secs(61);
    let elsewhere = QueueName { destination: "elsewhere".into(), ..queue_name("web") };
    let cases: [(&str, PullRequest, tonic::Code); 5] = [
        ("no queue", PullRequest { queue: None, ..valid.clone() }, invalid),
        ("too many", PullRequest { max_actions: 1001, ..valid.clone() }, invalid),
        ("a long wait", PullRequest { wait: Some(duration(minute)), ..valid.clone() }, invalid),
        ("unknown source", pull_request("other", 1, Duration::ZERO), tonic::Code::NotFound),
        ("unknown queue", PullRequest { queue: Some(elsewhere), ..valid }, tonic::Code::NotFound),
    ];
    for (name, request, code) in cases {
        let status = queue.pull(request).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {}", status.message());
        assert!(status.message().len() > 10, "{name}: {}", status.message());
        assert!(!status.details().is_empty(), "{name}: no google.rpc details");
    }
    for count in [0, 1001] {
        let settlements = vec![Settlement { token: vec![1; 16].into(), outcome: None }; count];
        let status = queue.settle(SettleRequest { settlements }).await.expect_err("refused");
        assert_eq!(status.code(), invalid, "{count} settlements");
    }
}

/// What is due on disk is due by the time of before, whatever the clock says after a restart.
#[tokio::test]
async fn a_clock_that_was_set_back_before_a_restart_holds_nothing_up() {
    let (site, mut server) = start().await;
    send(&server, "user-1").await;
    let delivery = server.pull("web", 1, Duration::from_secs(20)).await.remove(0);
    let later = retry(&delivery, Duration::from_secs(3));
    assert_eq!(server.settle(vec![later]).await, [Status::Settled]);
    server.kill();
    let server = ago(&site, site.launch(), Duration::from_hours(1)).start().await;
    let again = server.pull("web", 1, Duration::from_secs(30)).await;
    assert_eq!(again.len(), 1, "it waits an hour longer than it was told to");
    assert_eq!((&again[0].action_id, again[0].attempt), (&delivery.action_id, 2));
    assert_eq!(server.settle(vec![ack(&again[0])]).await, [Status::Settled]);
}
