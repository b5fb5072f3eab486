//! From events to the directory: identify, late and older, delete, objects, subscriptions,
//! audiences; and a consumer that gets the recipients with the action.

use std::time::Duration;

use segment_source_proto::{
    admin::v1::action::State,
    directory::v1::{Entity, GetRequest, Key, Kind, Recipient, SourceName},
    queue::v1::{ConsumeRequest, Start, consume_request, consume_response},
};
use segment_source_tests::{
    manifest::{NAMESPACE, welcome_mapping},
    read::{ack, pull_request, queue_name},
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::{Value, json};
use tonic::Code;

pub(crate) fn named() -> Option<SourceName> {
    Some(SourceName { namespace: NAMESPACE.into(), name: "web".into() })
}

pub(crate) fn user(id: &str) -> Key {
    Key { kind: Kind::User.into(), id: id.into(), ..Key::default() }
}

fn subscription(id: &str) -> Key {
    Key {
        kind: Kind::Subscription.into(),
        collection: "teams".into(),
        id: "acme".into(),
        recipient: Some(Recipient { id: id.into(), collection: String::new() }),
        ..Key::default()
    }
}

fn member(id: &str) -> Key {
    Key { kind: Kind::Member.into(), id: id.into(), audience: "vip".into(), ..Key::default() }
}

/// Mappings without destinations: the data actions go to the directory, the workflow to the queue.
pub(crate) fn spec() -> Value {
    let mapping = |name: &str, event_type: &str, action: Value| json!({"name": name, "eventType": event_type, "action": action});
    json!({"mappings": [
        mapping("people", "identify", json!({"usersIdentify": {
            "id": {"path": "userId"},
            "name": {"path": "traits.name"},
            "properties": {"path": "traits"},
        }})),
        mapping("gone", "delete", json!({"usersDelete": {"id": {"path": "userId"}}})),
        mapping("team", "group", json!({"objectsSet": {
            "collection": {"value": "teams"},
            "id": {"path": "groupId"},
            "properties": {"path": "traits"},
        }})),
        mapping("joined", "group", json!({"objectsSubscribe": {
            "collection": {"value": "teams"},
            "id": {"path": "groupId"},
            "recipients": {"path": "userId"},
        }})),
        mapping("vip", "track/Became VIP", json!({"audiencesAddMember": {
            "audience": "vip",
            "members": {"path": "userId"},
        }})),
        welcome_mapping(),
    ]})
}

pub(crate) async fn start() -> (Site, Server) {
    let site = Site::with_web(spec());
    let server = site.start().await;
    (site, server)
}

/// Posts an event; its messageId.
pub(crate) async fn send(server: &Server, mut event: Value) -> String {
    let id = fresh_id();
    event["messageId"] = id.clone().into();
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    id
}

/// Posts an event and waits until all of its actions are done; their answers.
async fn done(server: &Server, event: Value) -> Vec<String> {
    let id = send(server, event).await;
    eventually("the actions are done", || {
        let id = id.clone();
        async move {
            let event = server.planned_one("web", &id).await;
            let done = event.actions.iter().all(|it| it.state() == State::Delivered);
            done.then(|| event.actions.into_iter().map(|it| it.answer).collect())
        }
    })
    .await
}

/// An entry; `None`: there is none.
pub(crate) async fn get(server: &Server, key: Key) -> Option<Entity> {
    let request = GetRequest { source: named(), key: Some(key) };
    match server.directory().await.get(request).await {
        Ok(answer) => answer.into_inner().entity,
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => panic!("{status}"),
    }
}

async fn properties(server: &Server, key: Key) -> Option<String> {
    let entity = get(server, key).await?;
    Some(String::from_utf8(entity.properties_json.to_vec()).expect("JSON is text"))
}

pub(crate) fn identify(user: &str, at: &str, traits: Value) -> Value {
    json!({"type": "identify", "userId": user, "timestamp": at, "traits": traits})
}

const MARCH: &str = "2026-03-02T10:15:30.220Z";
const APRIL: &str = "2026-04-02T10:15:30.220Z";
const MAY: &str = "2026-05-02T10:15:30.220Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identify_updates_a_profile_and_an_older_one_does_not_overwrite_it() {
    let (site, mut server) = start().await;
    let answers = done(&server, identify("u1", APRIL, json!({"name": "Ada", "plan": "pro"}))).await;
    assert_eq!(answers, [""]);
    let known = r#"{"name":"Ada","plan":"pro"}"#;
    assert_eq!(properties(&server, user("u1")).await.as_deref(), Some(known));
    let late = identify(
        "u1",
        MARCH,
        json!({"name": "Old", "city": "Rome", "n": 12_345_678_901_234_567_890_u64}),
    );
    let answers = done(&server, late).await;
    assert_eq!(answers, ["1 of 3 values are older than what is known"]);
    let known = r#"{"city":"Rome","n":12345678901234567890,"name":"Ada","plan":"pro"}"#;
    assert_eq!(properties(&server, user("u1")).await.as_deref(), Some(known));
    // And it is on disk.
    server.kill();
    let server = site.start().await;
    assert_eq!(properties(&server, user("u1")).await.as_deref(), Some(known));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_user_does_not_come_back_with_an_older_event() {
    let (_site, server) = start().await;
    done(&server, identify("u1", MARCH, json!({"name": "Ada"}))).await;
    let group = json!({"type": "group", "userId": "u1", "groupId": "acme", "timestamp": MARCH,
        "traits": {"name": "Acme"}});
    done(&server, group.clone()).await;
    assert_eq!(properties(&server, subscription("u1")).await.as_deref(), Some("{}"));
    let answers = done(&server, json!({"type": "delete", "userId": "u1", "timestamp": MAY})).await;
    assert_eq!(answers, ["1 subscriptions and memberships ended with it"]);
    assert_eq!(properties(&server, user("u1")).await, None);
    assert_eq!(properties(&server, subscription("u1")).await, None);
    let answers = done(&server, identify("u1", APRIL, json!({"name": "Ada"}))).await;
    assert_eq!(answers, ["1 of 1 entries were deleted by a newer event"]);
    assert_eq!(properties(&server, user("u1")).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_subscriptions_and_members_who_are_missing_until_identified() {
    let (_site, server) = start().await;
    let group = json!({"type": "group", "userId": "u1", "groupId": "acme", "timestamp": MARCH,
        "traits": {"name": "Acme", "total billed": 830}});
    done(&server, group).await;
    let object = Key { recipient: None, kind: Kind::Object.into(), ..subscription("") };
    let known = r#"{"name":"Acme","total billed":830}"#;
    assert_eq!(properties(&server, object).await.as_deref(), Some(known));
    let mut vip = track("", "u1", "Became VIP");
    vip["timestamp"] = MARCH.into();
    done(&server, vip).await;
    for key in [subscription("u1"), member("u1")] {
        assert!(get(&server, key).await.expect("there").missing);
    }
    done(&server, identify("u1", MARCH, json!({"name": "Ada"}))).await;
    for key in [subscription("u1"), member("u1")] {
        assert!(!get(&server, key).await.expect("there").missing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_gets_the_recipients_with_the_action() {
    let (_site, server) = start().await;
    done(&server, identify("u1", MARCH, json!({"name": "Ada"}))).await;
    send(&server, track("", "u1", "Signed Up")).await;
    send(&server, track("", "u2", "Signed Up")).await;
    let mut queue = server.queue().await;
    let mut known = Vec::new();
    while known.len() < 2 {
        let request = pull_request("web", 10, Duration::from_secs(20));
        let request =
            segment_source_proto::queue::v1::PullRequest { expand_recipients: true, ..request };
        let deliveries = queue.pull(request).await.expect("pulled").into_inner().deliveries;
        assert!(!deliveries.is_empty(), "{} of 2 came", known.len());
        server.settle(deliveries.iter().map(ack).collect()).await;
        for delivery in deliveries {
            assert_eq!(delivery.recipients_left_out, 0);
            let recipients = delivery.recipients.into_iter();
            let shown = recipients.map(|it| {
                let key = it.key.expect("a key");
                (key.id, String::from_utf8_lossy(&it.properties_json).into_owned())
            });
            known.push(shown.collect::<Vec<_>>());
        }
    }
    known.sort();
    assert_eq!(known, [vec![], vec![("u1".to_owned(), r#"{"name":"Ada"}"#.to_owned())]]);

    send(&server, track("", "u1", "Signed Up")).await;
    let start = Start {
        queue: Some(queue_name("web")),
        credits: 1,
        expand_recipients: true,
        ..Start::default()
    };
    let start = ConsumeRequest { request: Some(consume_request::Request::Start(start)) };
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    requests.send(start).await.expect("there is room");
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut consume = queue.consume(stream).await.expect("it opens").into_inner();
    let first = soon("a delivery", consume.message()).await.expect("goes on").expect("a message");
    match first.response {
        Some(consume_response::Response::Delivery(delivery)) => {
            assert_eq!(&delivery.recipients[0].properties_json[..], br#"{"name":"Ada"}"#);
        }
        other => panic!("{other:?}"),
    }
}
