//! `erase-user`: what a source knows of a user is gone from log, dead letters, queue and directory.

use segment_source_proto::{
    admin::v1::action::State,
    directory::v1::{GetRequest, Key, Kind, SourceName},
};
use segment_source_tests::{
    manifest::{NAMESPACE, welcome_mapping},
    server::Server,
    sink::{Answer, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    deliver_http::{spec, start},
    replay_site::{all, command, counted, send},
};

/// What must not be found any more.
const MAIL: &str = "somebody@example.com";

async fn identify(server: &Server, id: &str, user: &str) {
    let event = json!({
        "type": "identify", "messageId": id, "userId": user, "traits": {"email": MAIL},
    });
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
}

async fn in_directory(server: &Server, user: &str) -> bool {
    let source = Some(SourceName { namespace: NAMESPACE.into(), name: "web".into() });
    let key = Key { kind: Kind::User.into(), id: user.into(), ..Key::default() };
    match server.directory().await.get(GetRequest { source, key: Some(key) }).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::NotFound => false,
        Err(status) => panic!("{status:?}"),
    }
}

async fn erase(server: &Server) -> Value {
    let words = ["erase-user", "--source", "test/web", "--user", "ada", "--output", "json"];
    command(server, &words).await.exits(0).json_lines().remove(0)
}

#[tokio::test]
async fn nothing_of_the_user_is_left_and_nobody_else_is_touched() {
    let sink = Sink::with(None, |_| Answer::status(400)).await;
    let mut spec = spec(&[("crm", json!({"url": sink.url("/")}))]);
    let mappings = spec["mappings"].as_array_mut().expect("mappings");
    mappings.push(welcome_mapping());
    mappings.push(json!({
        "name": "people",
        "eventType": "identify",
        "action": {"usersIdentify": {
            "id": {"path": "userId"}, "email": {"path": "traits.email"},
        }},
    }));
    let site = Site::with_web(spec);
    let server = start(&site).await;
    for user in ["ada", "bob"] {
        identify(&server, &format!("identify-{user}"), user).await;
        send(&server, &format!("track-{user}"), user, 1).await;
        all(&server, &[format!("identify-{user}")], State::Delivered).await;
        eventually("one is dead, one waits", || async {
            let event = server.planned_one("web", &format!("track-{user}")).await;
            let states: Vec<State> = event.actions.iter().map(|it| it.state()).collect();
            (states == [State::Dead, State::Pending] || states == [State::Pending, State::Dead])
                .then_some(())
        })
        .await;
        assert!(in_directory(&server, user).await, "{user}");
    }
    let events = server.events("web").await;
    let ada: Vec<String> = (events.iter().filter(|it| it.order_key == "user:ada"))
        .map(|it| it.event_id.clone())
        .collect();
    assert_eq!(ada.len(), 2);

    let report = erase(&server).await;
    let expected = json!({
        "source": "test/web", "user": "ada", "events_scanned": 4, "events_erased": 2,
        "actions_erased": 3, "directory_entries_erased": 1,
    });
    assert_eq!(report, expected);
    for id in &ada {
        let event = server.event(id).await;
        let text = format!("{event:?}");
        for word in ["ada", MAIL, "Someone"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        assert!(event.body.is_empty() && event.actions.iter().all(|it| it.payload_json.is_empty()));
    }
    assert!(!in_directory(&server, "ada").await);
    assert!(in_directory(&server, "bob").await);
    assert_eq!(counted(&server, &["--dead"]).await, 1, "bob's");
    assert_eq!(counted(&server, &[]).await, 2, "bob's");
    let taken = server.drain("web", 1).await;
    assert!(String::from_utf8_lossy(&taken[0].payload_json).contains("bob"), "{taken:?}");
    let words = ["events", "list", "--source", "test/web", "--user", "ada"];
    let said = command(&server, &words).await.exits(0).out;
    assert!(said.contains("no event of test/web matches"), "{said}");

    let again = erase(&server).await;
    let erased =
        ["events_erased", "actions_erased", "directory_entries_erased"].map(|it| &again[it]);
    assert_eq!(erased, [0, 0, 0], "{again}");
    let words = ["erase-user", "--source", "test/web", "--user", "bob"];
    let said = command(&server, &words).await.exits(0).out;
    assert!(
        said.contains("2 of 4 events") && said.contains("directory  1 of its entries"),
        "{said}"
    );
}

#[tokio::test]
async fn a_user_that_was_never_seen_is_reported_as_nothing() {
    let site = Site::with_web(json!({}));
    let server = site.start().await;
    let words = ["erase-user", "--source", "test/web", "--user", "ada"];
    let said = command(&server, &words).await.exits(0).out;
    assert!(said.contains("0 of 0 events"), "{said}");
    let words = ["erase-user", "--source", "test/web", "--user", ""];
    let said = command(&server, &words).await.exits(1).err;
    assert!(said.contains("name the user"), "{said}");
    let words = ["erase-user", "--source", "test/wbe", "--user", "ada"];
    let said = command(&server, &words).await.exits(1).err;
    assert!(said.contains("test/wbe"), "{said}");
}
