//! The delivery engine: order, destinations that are down or refuse, holds, crashes.

use std::{collections::HashMap, time::Duration};

use segment_source_proto::admin::v1::{ListDestinationsRequest, ListSourcesRequest, action::State};
use segment_source_tests::{
    manifest::{secret, source},
    server::Server,
    sign::{fresh_id, track},
    sink::{Answer, Asked, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::deliver_http::{send, spec, start, until};

/// Sends `count` events of each user, numbered from 0.
async fn send_numbered(server: &Server, users: usize, count: usize) {
    for n in 0..count {
        for user in 0..users {
            let mut event = track(&fresh_id(), &format!("user-{user}"), "Signed Up");
            event["properties"]["n"] = json!(n);
            assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
        }
    }
}

fn user(asked: &Asked) -> String {
    asked.json()["data"]["id"].as_str().expect("an id").to_owned()
}

/// The numbers that each user's accepted requests had, in order.
fn by_user(asked: &[Asked]) -> HashMap<String, Vec<Value>> {
    let mut all = HashMap::<_, Vec<_>>::new();
    for asked in asked {
        all.entry(user(asked)).or_default().push(asked.json()["data"]["n"].clone());
    }
    all
}

#[tokio::test]
async fn what_waits_for_a_destination_that_is_down_is_delivered_once_in_order() {
    let mut sink = Sink::start().await;
    let other = Sink::start().await;
    let site = Site::with_web(spec(&[
        ("down", json!({"url": sink.url("/")})),
        ("up", json!({"url": other.url("/")})),
    ]));
    sink.stop();
    let server = start(&site).await;
    send_numbered(&server, 20, 3).await;
    // The other destination has everything while this one has nothing.
    let through = other.until(60).await;
    assert_eq!(through.len(), 60);
    assert_eq!(sink.asked().len(), 0);
    sink.again().await;
    let asked = sink.until(60).await;
    assert_eq!(asked.len(), 60);
    for (user, numbers) in by_user(&asked) {
        assert_eq!(numbers, [0, 1, 2], "{user}");
    }
    assert!(sink.connections() <= 64, "{} connections", sink.connections());
}

#[tokio::test]
async fn users_that_fail_for_good_do_not_delay_the_others() {
    let failing = |asked: &Asked| match user(asked).as_str() {
        "user-0" | "user-1" => Answer::status(503),
        _ => Answer::status(200),
    };
    let sink = Sink::with(None, failing).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let server = start(&site).await;
    send_numbered(&server, 20, 5).await;
    let good = || async {
        let asked = sink.asked();
        let good: Vec<_> = asked
            .into_iter()
            .filter(|it| !matches!(user(it).as_str(), "user-0" | "user-1"))
            .collect();
        (good.len() >= 90).then_some(good)
    };
    let begun = std::time::Instant::now();
    let good = eventually("everything of the others", good).await;
    assert_eq!(good.len(), 90);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let asked = sink.asked();
    let first = asked.iter().filter(|it| user(it) == "user-0");
    assert!(first.clone().count() >= 1);
    assert!(first.into_iter().all(|it| it.json()["data"]["n"] == 0), "its lane went on");
}

#[tokio::test]
async fn one_that_refuses_is_held_until_its_credential_changes() {
    let sink = Sink::with(None, |_| Answer::status(401)).await;
    let to = json!({
        "url": sink.url("/"),
        "signingSecretRef": {"name": "crm", "key": "secret"},
    });
    let site = Site::with_web(spec(&[("crm", to)]));
    site.write("crm.yaml", &[secret("crm", "secret", "wrong")]);
    let server = start(&site).await;
    let first = send(&server, "user-1").await;
    server.logged("that it is held", |line| line.contains("refuses the credential")).await;
    let before = sink.asked().len();
    let second = send(&server, "user-2").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sink.asked().len(), before, "it was asked while it is held");
    sink.answer(|_| Answer::status(200));
    site.write("crm.yaml", &[secret("crm", "secret", "right")]);
    for id in [first, second] {
        let action = until(&server, &id, State::Delivered).await;
        assert_eq!(action.attempts, 1, "a refused attempt counts");
    }
}

#[tokio::test]
async fn nothing_is_delivered_while_delivery_is_suspended_or_the_secret_is_missing() {
    let sink = Sink::start().await;
    let to = json!({
        "url": sink.url("/"),
        "signingSecretRef": {"name": "crm", "key": "secret"},
    });
    let mut suspended = spec(&[("crm", to.clone())]);
    suspended["suspend"] = json!("Delivery");
    let site = Site::with_web(spec(&[("crm", to.clone())]));
    let server = start(&site).await;
    let id = send(&server, "user-1").await;
    until(&server, &id, State::Pending).await;
    assert_eq!(sink.asked().len(), 0, "without the secret nothing can be signed");

    let secret = secret("crm", "secret", "a");
    site.write("web.yaml", &[source("web", suspended), secret.clone()]);
    let mut admin = server.admin().await;
    eventually("delivery is suspended", || {
        let mut admin = admin.clone();
        async move {
            let sources = admin.list_sources(ListSourcesRequest {}).await.expect("sources");
            sources.into_inner().sources.iter().any(|it| it.delivery_suspended).then_some(())
        }
    })
    .await;
    let request = ListDestinationsRequest { namespace: "test".into(), name: "web".into() };
    let listed = admin.list_destinations(request).await.expect("destinations").into_inner();
    assert!(listed.destinations.iter().all(|it| !it.unresolved), "the secret is known: {listed:?}");
    let second = send(&server, "user-1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sink.asked().len(), 0, "while it is suspended nothing is delivered");

    site.write("web.yaml", &[source("web", spec(&[("crm", to)])), secret]);
    until(&server, &id, State::Delivered).await;
    until(&server, &second, State::Delivered).await;
    assert_eq!(sink.asked().len(), 2);
}

#[tokio::test]
async fn an_attempt_cut_short_by_a_crash_is_repeated_with_the_same_key() {
    let sink = Sink::with(None, |_| Answer::Never).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let mut server = start(&site).await;
    let id = send(&server, "user-1").await;
    sink.until(1).await;
    server.kill();
    sink.answer(|_| Answer::status(200));
    let server = start(&site).await;
    until(&server, &id, State::Delivered).await;
    let asked = sink.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].header("idempotency-key"), asked[1].header("idempotency-key"));
    assert_eq!(asked[0].body, asked[1].body);
}

#[tokio::test]
async fn a_stop_gives_back_what_is_under_way() {
    let sink = Sink::with(None, |_| Answer::Never).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let mut server = start(&site).await;
    let id = send(&server, "user-1").await;
    sink.until(1).await;
    server.terminate();
    assert!(server.ended().await.success(), "{}", server.log());
    sink.answer(|_| Answer::status(200));
    let server = start(&site).await;
    until(&server, &id, State::Delivered).await;
    assert_eq!(sink.asked().len(), 2);
}
