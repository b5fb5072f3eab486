//! The http destination: what it posts, and what answers and faults of the endpoint make of it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use segment_source_proto::admin::v1::{Action, action::State};
use segment_source_tests::{
    manifest::secret,
    server::Server,
    sign::{fresh_id, sign, track},
    sink::{Answer, Asked, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

/// A source whose tracks go to these destinations, one mapping each.
pub(crate) fn spec(destinations: &[(&str, Value)]) -> Value {
    let mapping = |name: &str| {
        json!({
            "name": format!("to-{name}"),
            "eventType": "track/Signed Up",
            "destination": name,
            "action": {"usersIdentify": {
                "id": {"path": "body.userId"},
                "properties": {"path": "body.properties"},
            }},
        })
    };
    let mappings: Vec<_> = destinations.iter().map(|(name, _)| mapping(name)).collect();
    let destinations: Vec<_> =
        destinations.iter().map(|(name, http)| json!({"name": name, "http": http})).collect();
    json!({"mappings": mappings, "destinations": destinations})
}

/// A program that may call loopback, with one destination.
pub(crate) async fn start(site: &Site) -> Server {
    site.launch().flag("allow-destination", "127.0.0.0/8").start().await
}

/// Sends one event; its messageId.
pub(crate) async fn send(server: &Server, user: &str) -> String {
    let id = fresh_id();
    let event = track(&id, user, "Signed Up");
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    id
}

/// Waits until the only action of an event is there.
pub(crate) async fn until(server: &Server, id: &str, state: State) -> Action {
    let found = || async {
        let event = server.planned_one("web", id).await;
        event.actions.into_iter().find(|action| action.state() == state)
    };
    eventually(&format!("an action that is {state:?}"), found).await
}

async fn only(sink: &Sink) -> (Site, Server) {
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/in?x=1")}))]));
    let server = start(&site).await;
    (site, server)
}

#[tokio::test]
async fn an_action_is_posted_once_signed_by_every_secret() {
    let sink = Sink::start().await;
    let to = json!({
        "url": sink.url("/in?x=1"),
        "signingSecretRef": {"name": "crm", "key": "secret"},
    });
    let site = Site::with_web(spec(&[("crm", to)]));
    site.write("crm.yaml", &[secret("crm", "secret", "not-real-1\nnot-real-2\n")]);
    let server = start(&site).await;
    let id = send(&server, "user-1").await;
    let action = until(&server, &id, State::Delivered).await;
    let asked = sink.until(1).await.remove(0);
    assert_eq!((&*asked.method, &*asked.target), ("POST", "/in?x=1"));
    let body = asked.json();
    assert_eq!(body["data"]["id"], "user-1");
    assert_eq!(body["type"], "users_identify");
    assert_eq!(body["source"], "test/web");
    let key = asked.header("idempotency-key");
    assert_eq!((key, key), (asked.header("webhook-id"), body["id"].as_str().unwrap()));
    assert!(asked.header("user-agent").starts_with("segment-source/"));
    let seconds = asked.header("webhook-timestamp").parse().unwrap();
    let expected: Vec<String> = ["not-real-1", "not-real-2"]
        .map(|secret| {
            let webhook = standardwebhooks::Webhook::from_bytes(secret.into()).unwrap();
            webhook.sign(key, seconds, &asked.body).unwrap()
        })
        .into();
    assert_eq!(asked.header("webhook-signature"), expected.join(" "));
    assert_eq!(action.attempts, 1);
    assert_eq!(sink.asked().len(), 1);
}

#[tokio::test]
async fn segments_format_is_the_event_itself_signed_as_segment_does() {
    let sink = Sink::start().await;
    let to = json!({
        "url": sink.url("/"),
        "format": "Segment",
        "signingSecretRef": {"name": "crm", "key": "secret"},
    });
    let site = Site::with_web(spec(&[("crm", to)]));
    site.write("crm.yaml", &[secret("crm", "secret", "not-real")]);
    let server = start(&site).await;
    let event = track(&fresh_id(), "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", &event).await.counts(), (1, 0));
    let asked = sink.until(1).await.remove(0);
    assert_eq!(asked.body, event.as_bytes());
    assert_eq!(asked.header("x-signature"), sign(b"not-real", event.as_bytes()));
}

#[tokio::test]
async fn loopback_is_refused_unless_allowed() {
    let sink = Sink::start().await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let server = site.start().await;
    let id = send(&server, "user-1").await;
    let action = until(&server, &id, State::Dead).await;
    let message = format!("{action:?}");
    assert!(message.contains("address_not_allowed"), "{message}");
    assert!(message.contains("--allow-destination 127.0.0.1"), "{message}");
    let by_name = format!("http://localhost:{}/", sink.address.port());
    site.write(
        "web.yaml",
        &[segment_source_tests::manifest::source(
            "web",
            spec(&[("other", json!({"url": by_name}))]),
        )],
    );
    let found = || async {
        let id = send(&server, "user-2").await;
        let event = server.planned_one("web", &id).await;
        event.actions.into_iter().find(|action| action.destination == "other").map(|_| id)
    };
    let id = eventually("the other destination", found).await;
    let message = format!("{:?}", until(&server, &id, State::Dead).await);
    assert!(message.contains("--allow-destination localhost"), "{message}");
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn what_the_endpoint_will_never_take_is_dead() {
    let location = "location: /elsewhere\r\n".to_owned();
    for (answer, code) in
        [(Answer::Status(301, location), "redirect"), (Answer::status(422), "rejected")]
    {
        let sink = Sink::with(None, move |_| answer.clone()).await;
        let (_site, server) = only(&sink).await;
        let id = send(&server, "user-1").await;
        let action = until(&server, &id, State::Dead).await;
        assert!(format!("{action:?}").contains(code), "{action:?}");
        assert_eq!(sink.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_the_status_counts() {
    let sink = Sink::with(None, |_| Answer::Endless).await;
    let (_site, server) = only(&sink).await;
    let id = send(&server, "user-1").await;
    until(&server, &id, State::Delivered).await;
    assert_eq!(sink.asked().len(), 1);
}

#[tokio::test]
async fn faults_are_repeated_with_the_same_key_and_bytes() {
    let times = AtomicUsize::new(0);
    let sink = Sink::with(None, move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Close,
        1 => Answer::Garbage,
        2 => Answer::status(503),
        _ => Answer::Slow(Duration::from_millis(300)),
    })
    .await;
    let (_site, server) = only(&sink).await;
    let id = send(&server, "user-1").await;
    let action = until(&server, &id, State::Delivered).await;
    assert_eq!(action.attempts, 4);
    let asked = sink.asked();
    assert_eq!(asked.len(), 4);
    for again in &asked {
        assert_eq!(again.header("idempotency-key"), asked[0].header("idempotency-key"));
        assert_eq!(again.body, asked[0].body);
    }
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let times = AtomicUsize::new(0);
    let sink = Sink::with(None, move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Status(429, "retry-after: 3\r\n".into()),
        _ => Answer::status(200),
    })
    .await;
    let (_site, server) = only(&sink).await;
    let id = send(&server, "user-1").await;
    until(&server, &id, State::Delivered).await;
    let asked = sink.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(3), "{:?}", asked[1].at - asked[0].at);
}

#[tokio::test]
async fn a_signature_that_comes_back_in_an_answer_is_not_shown() {
    let echo = |asked: &Asked| Answer::Reply {
        status: 400,
        headers: String::new(),
        body: format!("wrong signature {}", asked.header("webhook-signature")),
    };
    let sink = Sink::with(None, echo).await;
    let to = json!({
        "url": sink.url("/"), "signingSecretRef": {"name": "crm", "key": "secret"},
    });
    let site = Site::with_web(spec(&[("crm", to)]));
    site.write("crm.yaml", &[secret("crm", "secret", "a")]);
    let server = start(&site).await;
    let id = send(&server, "user-1").await;
    let action = until(&server, &id, State::Dead).await;
    let said = "the endpoint answered 400 Bad Request: wrong signature v1,[removed]";
    assert_eq!(action.reason, said);
}
