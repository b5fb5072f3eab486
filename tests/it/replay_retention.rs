//! Logs are let go of by age and bytes, queues after seven days; what is still owed stays, also
//! while a source is suspended.

use std::time::Duration;

use segment_source_proto::admin::v1::{Outcome, action::State};
use segment_source_tests::{
    clock::ago,
    manifest::{source, welcome_mapping},
    read::ack,
    server::Server,
    sign::track,
    sink::{Answer, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{
    deliver_http::spec,
    replay_site::{all, command, counted, report, send},
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Tracks `Signed Up` go to the sink, `Asked` to the queue; nothing else is mapped.
fn both(sink: &Sink, retention: Value) -> Value {
    let mut spec = spec(&[("crm", json!({"url": sink.url("/")}))]);
    let mut queued = welcome_mapping();
    queued["eventType"] = json!("track/Asked");
    spec["mappings"].as_array_mut().expect("mappings").push(queued);
    spec["retention"] = retention;
    spec
}

async fn start_ago(site: &Site, time: Duration) -> Server {
    let launch = site.launch().flag("allow-destination", "127.0.0.0/8");
    match time {
        Duration::ZERO => launch.start().await,
        time => ago(site, launch, time).start().await,
    }
}

async fn post(server: &Server, source: &str, id: &str, event: &str) {
    let event = track(id, id, event).to_string();
    assert_eq!(server.post(source, event).await.counts(), (1, 0));
}

/// The keys of what is in the log, newest first.
async fn keys(server: &Server, source: &str) -> Vec<String> {
    server.events(source).await.into_iter().map(|event| event.key).collect()
}

async fn left(server: &Server, source: &str, expected: &[&str]) {
    let what = format!("in the log of {source} is {expected:?}");
    eventually(&what, || async { (keys(server, source).await == expected).then_some(()) }).await;
}

async fn until(server: &Server, source: &str, id: &str, outcome: Outcome) {
    eventually(&format!("{id} is {outcome:?}"), || async {
        let event = server.planned(source, id).await.pop()?;
        (event.event?.outcome() == outcome).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_old_goes_when_nothing_of_it_is_owed() {
    let sink = Sink::with(None, |asked| match asked.json()["data"]["id"] == "dead" {
        true => Answer::status(400),
        false => Answer::status(200),
    })
    .await;
    let site = Site::with_web(both(&sink, json!({"age": "1h"})));
    let mut server = start_ago(&site, HOUR * 4).await;
    post(&server, "web", "owed", "Asked").await;
    post(&server, "web", "delivered", "Signed Up").await;
    post(&server, "web", "dead", "Signed Up").await;
    post(&server, "web", "nothing", "Never Mapped").await;
    until(&server, "web", "delivered", Outcome::Delivered).await;
    until(&server, "web", "dead", Outcome::Failed).await;
    until(&server, "web", "owed", Outcome::Pending).await;
    until(&server, "web", "nothing", Outcome::NoAction).await;
    assert_eq!(counted(&server, &["--dead"]).await, 1);
    server.kill();

    let server = start_ago(&site, Duration::ZERO).await;
    post(&server, "web", "fresh", "Signed Up").await;
    left(&server, "web", &["fresh", "owed"]).await;
    assert_eq!(counted(&server, &["--dead"]).await, 0, "its dead letter went with it");
    let taken = server.pull("web", 10, Duration::from_secs(20)).await;
    assert_eq!(taken.len(), 1, "it is still to be had");
    server.settle(vec![ack(&taken[0])]).await;
    until(&server, "web", "owed", Outcome::Delivered).await;
    // Whoever changes what is kept need not wait.
    site.write("web.yaml", &[source("web", both(&sink, json!({"age": "2h"})))]);
    left(&server, "web", &["fresh"]).await;
}

#[tokio::test]
async fn what_is_beyond_the_size_goes_oldest_first_when_nothing_of_it_is_owed() {
    let sink = Sink::start().await;
    let site = Site::with_web(both(&sink, json!({})));
    let server = start_ago(&site, Duration::ZERO).await;
    let large = |id: &str, event: &str| {
        let mut event = track(id, id, event);
        event["context"] = json!({"page": "x".repeat(300_000)});
        event.to_string()
    };
    for (id, event) in
        [("owed", "Asked"), ("1", "Signed Up"), ("2", "Signed Up"), ("3", "Signed Up")]
    {
        assert_eq!(server.post("web", large(id, event)).await.counts(), (1, 0));
    }
    for id in ["1", "2", "3"] {
        all(&server, &[id.to_owned()], State::Delivered).await;
    }
    until(&server, "web", "owed", Outcome::Pending).await;
    // Room for three of the four.
    site.write("web.yaml", &[source("web", both(&sink, json!({"size": "1Mi"})))]);
    left(&server, "web", &["3", "2", "owed"]).await;
    assert_eq!(server.drain("web", 1).await.len(), 1);
}

/// Waits until all destinations are shown as suspended.
async fn noted(server: &Server) {
    let words = ["destinations", "list", "--source", "test/web", "--output", "json"];
    eventually("the suspension is shown", || async {
        let listed = command(server, &words).await.exits(0).json_lines();
        let held = |it: &Value| it["state"] == "held" && it["reason"] == "suspend: Delivery";
        (listed.iter().all(held) && !listed.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_suspended_source_keeps_what_it_owes_and_goes_on_with_it() {
    let sink = Sink::start().await;
    let kept = || both(&sink, json!({"age": "1h"}));
    let suspended = || {
        let mut spec = kept();
        spec["suspend"] = json!("Delivery");
        spec
    };
    let site = Site::with_web(kept());
    let mut server = start_ago(&site, DAY * 8).await;
    post(&server, "web", "delivered", "Signed Up").await;
    until(&server, "web", "delivered", Outcome::Delivered).await;
    post(&server, "web", "owed", "Asked").await;
    until(&server, "web", "owed", Outcome::Pending).await;
    server.kill();
    site.write("web.yaml", &[source("web", suspended())]);
    let mut server = start_ago(&site, DAY * 8).await;
    send(&server, "waits", "ada", 1).await;
    noted(&server).await;
    server.kill();

    let mut server = start_ago(&site, Duration::ZERO).await;
    // That one is gone shows that the others were looked at.
    left(&server, "web", &["waits", "owed"]).await;
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty(), "nothing is given out");
    assert_eq!(sink.asked().len(), 1, "nothing is attempted");
    let waits = server.events("web").await.remove(0);
    assert_eq!(waits.outcome(), Outcome::Waiting);
    noted(&server).await;
    server.kill();
    // Also when it goes on while nobody looks.
    site.write("web.yaml", &[source("web", kept())]);
    let server = start_ago(&site, Duration::ZERO).await;
    assert_eq!(server.drain("web", 1).await.len(), 1, "nothing expired meanwhile");
    assert_eq!(sink.until(2).await.len(), 2);
    until(&server, "web", "waits", Outcome::Delivered).await;
}

#[tokio::test]
async fn while_intake_is_suspended_what_was_accepted_is_delivered() {
    let sink = Sink::start().await;
    let site = Site::with_web(both(&sink, json!({})));
    let server = start_ago(&site, Duration::ZERO).await;
    post(&server, "web", "before", "Asked").await;
    let mut suspended = both(&sink, json!({}));
    suspended["suspend"] = json!("Intake");
    site.write("web.yaml", &[source("web", suspended)]);
    let copy = track("before", "before", "Asked").to_string();
    eventually("intake is suspended", || async {
        let reply = server.post("web", &copy).await;
        (reply.status == 503).then(|| reply.assert_heals())
    })
    .await;
    let before = server.events("web").await.len();
    server.post("web", track("refused", "ada", "Signed Up").to_string()).await.assert_heals();
    assert_eq!(server.drain("web", 1).await.len(), 1);
    assert_eq!(server.events("web").await.len(), before, "nothing was stored");
    site.write("web.yaml", &[source("web", both(&sink, json!({})))]);
    let again = track("refused", "ada", "Signed Up").to_string();
    eventually("intake goes on", || async {
        (server.post("web", &again).await.status == 202).then_some(())
    })
    .await;
    until(&server, "web", "refused", Outcome::Delivered).await;
}

#[tokio::test]
async fn what_no_consumer_took_for_seven_days_is_a_dead_letter_unless_the_queue_was_held() {
    let sink = Sink::start().await;
    let kept = || both(&sink, json!({"age": "1h"}));
    let site = Site::with_web(kept());
    site.write("app.yaml", &[source("app", kept())]);
    let mut server = start_ago(&site, DAY * 8).await;
    for name in ["web", "app"] {
        post(&server, name, "gone", "Signed Up").await;
        until(&server, name, "gone", Outcome::Delivered).await;
        post(&server, name, "owed", "Asked").await;
        until(&server, name, "owed", Outcome::Pending).await;
    }
    let hold = ["destinations", "hold", "test/app/default", "--reason", "a long repair"];
    command(&server, &hold).await.exits(0);
    server.kill();

    let server = start_ago(&site, Duration::ZERO).await;
    // The log comes after the queue, so the queue was looked at.
    left(&server, "app", &["owed"]).await;
    until(&server, "app", "owed", Outcome::Pending).await;
    command(&server, &["destinations", "release", "test/app/default"]).await.exits(0);
    assert_eq!(server.drain("app", 1).await.len(), 1);

    // As a dead letter it was not owed any more, and went with the log in the same look.
    left(&server, "web", &[]).await;
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn what_expired_in_a_queue_can_run_again() {
    let sink = Sink::start().await;
    let site = Site::with_web(both(&sink, json!({})));
    let mut server = start_ago(&site, DAY * 8).await;
    post(&server, "web", "owed", "Asked").await;
    until(&server, "web", "owed", Outcome::Pending).await;
    let before = server.planned_one("web", "owed").await.actions.remove(0);
    server.kill();
    let server = start_ago(&site, Duration::ZERO).await;
    let dead = all(&server, &["owed".to_owned()], State::Dead).await.remove(0);
    assert_eq!(dead.reason_code, "expired");
    assert!(dead.reason.contains("7 days"), "{}", dead.reason);
    assert_eq!(report(&server, &["--dead", "--reason", "expired"]).await, (1, 1, 0));
    let taken = server.drain("web", 1).await.remove(0);
    assert_eq!(taken.idempotency_key, before.idempotency_key);
    assert_eq!(taken.payload_json, before.payload_json);
}
