//! `destinations`: how they are shown, held and released; what a hold keeps back, pushed or pulled.

use std::time::{Duration, Instant};

use segment_source_proto::admin::v1::action::State;
use segment_source_tests::{
    manifest::{NAMESPACE, welcome_mapping},
    server::Server,
    sink::Sink,
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{
    deliver_http::{spec, start},
    replay_site::{all, command, send},
};

/// A program with a sink `crm`, and the queue `default` to which a second action of each event goes.
async fn with_both() -> (Site, Server, Sink) {
    let sink = Sink::start().await;
    let mut spec = spec(&[("crm", json!({"url": sink.url("/")}))]);
    spec["mappings"].as_array_mut().expect("mappings").push(welcome_mapping());
    let site = Site::with_web(spec);
    let server = start(&site).await;
    (site, server, sink)
}

/// What `destinations list` says of a destination.
async fn listed(server: &Server, name: &str) -> Value {
    let words = ["destinations", "list", "--source", "test/web", "--output", "json"];
    let all = command(server, &words).await.exits(0).json_lines();
    all.into_iter().find(|it| it["name"] == name).expect("it is listed")
}

async fn hold(server: &Server, destination: &str, more: &[&str]) -> String {
    let named = format!("{NAMESPACE}/web/{destination}");
    let words = ["destinations", "hold", &named, "--reason", "their maintenance"];
    command(server, &[&words, more].concat()).await.exits(0).out
}

#[tokio::test]
async fn a_held_destination_gets_nothing_until_it_is_released() {
    let (_site, server, sink) = with_both().await;
    assert_eq!(listed(&server, "crm").await["state"], "ready");
    let said = hold(&server, "crm", &[]).await;
    assert!(said.contains("crm of test/web is held"), "{said}");
    assert!(said.contains("destinations release test/web/crm --server"), "{said}");
    send(&server, "m-1", "ada", 1).await;
    // The other destination has it: it is planned, and whoever wanted to deliver had the time.
    assert_eq!(server.drain("web", 1).await.len(), 1);
    let held = eventually("it waits", || async {
        let held = listed(&server, "crm").await;
        (held["waiting_lanes"] == 1).then_some(held)
    })
    .await;
    assert_eq!((&held["state"], &held["reason"]), (&json!("held"), &json!("their maintenance")));
    assert_eq!(held["until"], "");
    let text = command(&server, &["destinations", "list"]).await.exits(0).out;
    assert!(text.contains("their maintenance"), "{text}");
    assert_eq!(sink.asked().len(), 0);

    let words = ["destinations", "release", "test/web/crm"];
    let said = command(&server, &words).await.exits(0).out;
    assert!(said.contains("crm of test/web is released"), "{said}");
    sink.until(1).await;
    all(&server, &["m-1".to_owned()], State::Delivered).await;
    assert_eq!(listed(&server, "crm").await["state"], "ready");
    let again = command(&server, &words).await.exits(0).out;
    assert!(again.contains("was not held"), "{again}");
}

#[tokio::test]
async fn a_hold_ends_when_its_time_is_up() {
    let (_site, server, sink) = with_both().await;
    let begun = Instant::now();
    hold(&server, "crm", &["--for", "2s"]).await;
    hold(&server, "default", &["--for", "2s"]).await;
    assert_ne!(listed(&server, "crm").await["until"], "");
    send(&server, "m-1", "ada", 1).await;
    // One that waits for actions gets it when the time is up.
    let taken = server.pull("web", 1, Duration::from_secs(20)).await;
    assert_eq!(taken.len(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
    sink.until(1).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
    for name in ["crm", "default"] {
        assert_eq!(listed(&server, name).await["state"], "ready", "{name}");
    }
}

#[tokio::test]
async fn a_held_queue_gives_nothing_and_goes_on_at_once() {
    let (_site, server, _sink) = with_both().await;
    hold(&server, "default", &["--for", "1h"]).await;
    send(&server, "m-1", "ada", 1).await;
    let waits = || async { (listed(&server, "default").await["waiting_lanes"] == 1).then_some(()) };
    eventually("it waits in the queue", waits).await;
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty());
    let pulling = server.pull("web", 10, Duration::from_secs(20));
    let releasing = async {
        let words = ["destinations", "release", "test/web/default"];
        command(&server, &words).await.exits(0);
        Instant::now()
    };
    let (taken, released) = tokio::join!(pulling, releasing);
    assert_eq!(taken.len(), 1);
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
}

#[tokio::test]
async fn a_destination_that_is_not_there_is_named_with_those_that_are() {
    let (_site, server, _sink) = with_both().await;
    let words = ["destinations", "hold", "test/web/cmr", "--reason", "typing"];
    let said = command(&server, &words).await.exits(1).err;
    assert!(said.contains("no destination `cmr`") && said.contains("crm"), "{said}");
    let words = ["destinations", "release", "web/crm"];
    let said = command(&server, &words).await.exits(2).err;
    assert!(said.contains("NAMESPACE/NAME/DESTINATION"), "{said}");
}
