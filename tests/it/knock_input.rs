//! What events bring that is unusual, wrong or too much, and what becomes of it at Knock: it is
//! delivered as it is, or the action ends with a reason that names the field.

use segment_source_proto::admin::v1::{Action, action::State};
use segment_source_tests::knock::Scene;
use serde_json::{Value, json};

/// Acts once and waits for the end of the action.
async fn act(scene: &Scene, action: &str, properties: Value) -> Action {
    let ended = [State::Delivered, State::Dead, State::Failed];
    let id = scene.act(action, "user-1", properties).await;
    scene.once(&id, std::time::Duration::from_secs(30), |it| ended.contains(&it.state())).await
}

/// Such an action never reaches Knock.
async fn fails(
    scene: &Scene,
    action: &str,
    properties: Value,
    state: State,
    code: &str,
    part: &str,
) {
    let before = scene.knock.asked().len();
    let ended = act(scene, action, properties).await;
    assert_eq!((ended.state(), &*ended.reason_code), (state, code), "{action}: {ended:?}");
    assert!(ended.reason.contains(part), "{action}: no `{part}` in `{}`", ended.reason);
    assert_eq!(scene.knock.asked().len(), before, "{action}: {ended:?}");
}

fn many(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!(format!("user-{n}"))).collect()
}

#[tokio::test]
async fn ids_arrive_as_they_are_whatever_they_consist_of() {
    let scene = Scene::twelve().await;
    let longest = "ü".repeat(256);
    for id in [
        "a b",
        "100%",
        "%2F",
        "用户-42",
        "é✅",
        "a+b&c=d?e",
        "a:b@c;d,e",
        "a\\b",
        "\"'",
        "...",
        "~-_.",
        " ",
        "a\u{1}b",
        &longest,
    ] {
        let user = act(&scene, "usersIdentify", json!({"id": id})).await;
        assert_eq!(user.state(), State::Delivered, "{id:?}: {user:?}");
        let object =
            json!({"collection": id, "id": id, "recipients": [{"id": id, "collection": id}]});
        let object = act(&scene, "objectsUnsubscribe", object).await;
        assert_eq!(object.state(), State::Delivered, "{id:?}: {object:?}");
        let taken = scene.knock.taken();
        let [.., user, object] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(user.ids["user_id"], id);
        assert_eq!((&*object.ids["collection"], &*object.ids["object_id"]), (id, id));
        assert_eq!(object.body, json!({"recipients": [{"collection": id, "id": id}]}));
    }
    // A number is an id by its text.
    act(&scene, "usersDelete", json!({"id": 42})).await;
    assert_eq!(scene.knock.asked().last().expect("a request").target, "/v1/users/42");
}

#[tokio::test]
async fn ids_that_knock_forbids_are_dead_letters_that_name_the_field() {
    let scene = Scene::twelve().await;
    let long = "x".repeat(257);
    let forbidden = [
        ("a/b", "has a `/` or `#`"),
        ("a#b", "has a `/` or `#`"),
        (&*long, "has 257 characters, at most 256"),
        ("..", "is `..`, which no URL can name"),
        (".", "is `.`, which no URL can name"),
    ];
    for (id, what) in forbidden {
        let dead = |action, properties, field: &str| {
            let part = format!("{field}: {what}");
            let (scene, part) = (&scene, part);
            async move { fails(scene, action, properties, State::Dead, "invalid_id", &part).await }
        };
        dead("usersIdentify", json!({"id": id, "name": "Ada"}), "id").await;
        dead("usersDelete", json!({"id": id}), "id").await;
        dead("tenantsSet", json!({"id": id}), "id").await;
        dead("tenantsDelete", json!({"id": id}), "id").await;
        let (collection, object) =
            (json!({"collection": id, "id": "1"}), json!({"collection": "c", "id": id}));
        dead("objectsSet", collection.clone(), "collection").await;
        dead("objectsSet", object.clone(), "id").await;
        dead("objectsDelete", collection, "collection").await;
        let mut recipients = object;
        recipients["recipients"] = json!(["user-1"]);
        dead("objectsSubscribe", recipients.clone(), "id").await;
        dead("objectsUnsubscribe", recipients, "id").await;
    }
    for id in [json!(""), json!(null)] {
        let state = State::Failed;
        fails(&scene, "usersIdentify", json!({"id": id}), state, "missing_field", "id:").await;
    }
    for id in [json!(true), json!(["a"]), json!({"id": "a"})] {
        let state = State::Failed;
        fails(&scene, "usersIdentify", json!({"id": id}), state, "wrong_type", "id:").await;
    }
}

#[tokio::test]
async fn recipients_come_in_every_form_and_wrong_ones_are_named() {
    let scene = Scene::twelve().await;
    let inline = json!({"id": "user-2", "name": "Bo", "collection": null});
    for (given, sent) in [
        (json!(42), json!(["42"])),
        (json!("user-1"), json!(["user-1"])),
        (json!([1.50, "a"]), json!(["1.5", "a"])),
        (json!({"id": 7, "name": "Bo"}), json!([{"id": "7", "name": "Bo"}])),
        (
            json!([{"id": "1", "collection": "c", "n": [1]}]),
            json!([{"id": "1", "collection": "c", "n": [1]}]),
        ),
    ] {
        let action = act(&scene, "workflowsTrigger", json!({"recipients": given})).await;
        assert_eq!(action.state(), State::Delivered, "{given}: {action:?}");
        assert_eq!(scene.knock.taken().last().expect("a request").body["recipients"], sent);
    }
    for action in ["workflowsTrigger", "objectsSubscribe", "objectsUnsubscribe"] {
        let with =
            |recipients: Value| json!({"collection": "c", "id": "1", "recipients": recipients});
        for (given, code, part) in [
            (json!([["user-1"], ["user-2"]]), "wrong_type", "recipients[0]"),
            (json!(["user-1", null]), "wrong_type", "recipients[1]"),
            (json!(["user-1", {"name": "no id"}]), "wrong_type", "recipients[1].id"),
            (json!(true), "wrong_type", "recipients"),
            (json!([]), "missing_field", "recipients"),
            (json!(null), "missing_field", "recipients"),
            (json!(many(1_001)), "too_many_recipients", "recipients has 1001 elements"),
        ] {
            fails(&scene, action, with(given), State::Failed, code, part).await;
        }
    }
    fails(
        &scene,
        "workflowsTrigger",
        json!({"recipients": [inline]}),
        State::Failed,
        "wrong_type",
        "recipients[0].collection",
    )
    .await;
    let members = json!({"members": many(1_001)});
    let (state, code) = (State::Failed, "too_many_recipients");
    fails(&scene, "audiencesAddMember", members, state, code, "members has 1001").await;
}

#[tokio::test]
async fn many_recipients_go_in_one_call_or_in_as_few_as_knock_allows() {
    let scene = Scene::twelve().await;
    let trigger = act(&scene, "workflowsTrigger", json!({"recipients": many(1_000)})).await;
    assert_eq!(trigger.state(), State::Delivered, "{trigger:?}");
    let members = act(&scene, "audiencesAddMember", json!({"members": many(1_000)})).await;
    assert_eq!(members.state(), State::Delivered, "{members:?}");
    assert_eq!(scene.knock.asked().len(), 2);

    for action in ["objectsSubscribe", "objectsUnsubscribe"] {
        let before = scene.knock.asked().len();
        let properties = json!({
            "collection": "c", "id": "1", "recipients": many(250), "properties": {"role": "x"},
        });
        let ended = act(&scene, action, properties).await;
        assert_eq!((ended.state(), ended.attempts), (State::Delivered, 1), "{ended:?}");
        assert_eq!(ended.answer, "200 OK");
        let taken = scene.knock.taken().split_off(before);
        let recipients = |from: usize| taken[from].body["recipients"].as_array().expect("a list");
        assert_eq!([0, 1, 2].map(|at| recipients(at).len()), [100, 100, 50], "{action}");
        let all: Vec<Value> = (0..3).flat_map(recipients).cloned().collect();
        assert_eq!(all, many(250), "{action}");
        assert_eq!(taken.len(), 3);
        if action == "objectsSubscribe" {
            assert!(taken.iter().all(|it| it.body["properties"] == json!({"role": "x"})));
        }
    }
}

#[tokio::test]
async fn more_properties_than_knock_takes_are_refused_by_it_and_the_reason_says_so() {
    let scene = Scene::twelve().await;
    // The stand-in knows Knock's limit; here it is to be overstepped.
    let most = json!({"id": "user-1", "properties": {"big": "x".repeat(255_000)}});
    assert_eq!(act(&scene, "usersIdentify", most).await.state(), State::Delivered);
    let more = json!({"id": "user-1", "properties": {"big": "x".repeat(256_001)}});
    let dead = act(&scene, "usersIdentify", more).await;
    assert_eq!((dead.state(), &*dead.reason_code), (State::Dead, "invalid_params"), "{dead:?}");
    assert!(dead.reason.contains("422") && dead.reason.contains("256000 bytes"), "{dead:?}");
    let violations = scene.knock.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    // The user's lane goes on.
    assert_eq!(act(&scene, "usersDelete", json!({"id": "user-1"})).await.state(), State::Delivered);
}

#[tokio::test]
#[should_panic(expected = "Knock would not take what it was asked")]
async fn a_wrong_request_fails_its_test() {
    let scene = Scene::twelve().await;
    let more = json!({"id": "user-1", "properties": {"big": "x".repeat(256_001)}});
    act(&scene, "usersIdentify", more).await;
}
