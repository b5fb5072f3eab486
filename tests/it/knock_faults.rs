//! Knock fails in every way there is, and the program is killed: what is repeated, when, and with
//! what. That repeats carry the same Idempotency-Key and the same bytes is checked by the stand-in,
//! which refuses anything else.

use std::time::Duration;

use segment_source_proto::admin::v1::{Action, action::State};
use segment_source_tests::{
    knock::{Fate, Scene},
    sink::Answer,
};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// Timers of the engine are not more exact than that.
const EARLY: Duration = Duration::from_millis(10);

/// Why its attempts failed, in order.
fn reasons(action: &Action) -> Vec<&str> {
    let failed = action.history.iter().filter(|attempt| !attempt.reason_code.is_empty());
    failed.map(|attempt| attempt.reason_code.as_str()).collect()
}

#[tokio::test]
async fn what_fails_is_repeated_with_the_same_key_and_bytes() {
    let scene = Scene::twelve().await;
    scene.knock.next([
        Fate::status(500),
        Fate::Fault(Answer::Close),
        Fate::Fault(Answer::Garbage),
        Fate::error(409, "conflict"),
    ]);
    let id = scene.trigger("user-1").await;
    let action = scene.until(&id, State::Delivered).await;
    assert_eq!(action.attempts, 5);
    assert_eq!(reasons(&action), ["failing", "transport", "transport", "failing"]);
    assert_eq!(action.answer, "200 OK, workflow_run_id run-0");
    let asked = scene.knock.asked();
    assert_eq!(asked.len(), 5);
    for again in &asked {
        assert_eq!(again.header("idempotency-key"), action.idempotency_key);
        assert_eq!(again.body, br#"{"recipients":["user-1"],"data":{"n":1.5}}"#);
    }
    assert_eq!(scene.knock.taken().len(), 1);
}

#[tokio::test]
async fn what_knock_has_taken_already_is_recorded_as_replayed() {
    let scene = Scene::twelve().await;
    scene.knock.next([Fate::Unheard(Answer::Close)]);
    let id = scene.trigger("user-1").await;
    let action = scene.until(&id, State::Delivered).await;
    let answer = "200 OK, workflow_run_id run-0, replayed: an earlier attempt had succeeded";
    assert_eq!((&*action.answer, action.attempts), (answer, 2));
    assert_eq!(reasons(&action), ["transport"]);
    assert_eq!(scene.knock.taken().len(), 1, "it ran twice");
}

#[tokio::test]
async fn an_attempt_that_was_cut_short_by_a_kill_is_repeated_and_runs_once() {
    let mut scene = Scene::twelve().await;
    scene.knock.next([Fate::Unheard(Answer::Never), Fate::Fault(Answer::Never)]);
    let trigger = scene.trigger("user-1").await;
    scene.knock.until(1).await;
    let recipients: Vec<_> = (0..150).map(|n| format!("user-{n}")).collect();
    let object = json!({"collection": "c", "id": "1", "recipients": recipients});
    let subscribe = scene.act("objectsSubscribe", "user-2", object).await;
    scene.knock.until(2).await;
    scene.crash().await;
    let action = scene.until(&trigger, State::Delivered).await;
    assert!(action.answer.ends_with("replayed: an earlier attempt had succeeded"), "{action:?}");
    scene.until(&subscribe, State::Delivered).await;
    let asked = scene.knock.asked();
    let of = |part: &str| asked.iter().filter(|it| it.target.contains(part)).collect::<Vec<_>>();
    let (triggers, subscriptions) = (of("/trigger"), of("/subscriptions"));
    assert_eq!((triggers.len(), subscriptions.len()), (2, 3));
    for again in triggers {
        assert_eq!(again.header("idempotency-key"), action.idempotency_key);
    }
    assert_eq!(subscriptions[0].body, subscriptions[1].body);
    let runs = scene.knock.taken().into_iter().filter(|it| it.operation == "triggerWorkflow");
    assert_eq!(runs.count(), 1, "it ran twice");
}

#[tokio::test]
async fn an_action_of_several_calls_is_repeated_as_a_whole() {
    let scene = Scene::twelve().await;
    scene.knock.next([Fate::Usual, Fate::status(503)]);
    let recipients: Vec<_> = (0..250).map(|n| format!("user-{n}")).collect();
    let object = json!({"collection": "c", "id": "1", "recipients": recipients});
    let id = scene.act("objectsSubscribe", "user-1", object).await;
    let action = scene.until(&id, State::Delivered).await;
    assert_eq!((action.attempts, reasons(&action)), (2, vec!["failing"]));
    let asked = scene.knock.asked();
    let sizes = asked.iter().map(|it| it.json()["recipients"].as_array().map_or(0, Vec::len));
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 100, 100, 50]);
    assert_eq!((&asked[0].body, &asked[1].body), (&asked[2].body, &asked[3].body));
}

#[tokio::test]
async fn deleting_what_is_not_there_is_done_unless_the_path_is_wrong() {
    let scene = Scene::twelve().await;
    scene.knock.fate(|_, _| Fate::error(404, "resource_missing"));
    let object = json!({"collection": "c", "id": "1", "recipients": ["user-1"]});
    let member = json!({"members": ["user-1"]});
    for (action, properties) in [
        ("usersDelete", json!({"id": "user-1"})),
        ("objectsDelete", object.clone()),
        ("tenantsDelete", json!({"id": "t-1"})),
        ("objectsUnsubscribe", object.clone()),
        ("audiencesRemoveMember", member.clone()),
    ] {
        let id = scene.act(action, "user-1", properties).await;
        let done = scene.until(&id, State::Delivered).await;
        assert!(
            done.answer.contains("404") && done.answer.contains("resource_missing"),
            "{done:?}"
        );
        assert_eq!(done.attempts, 1, "{action}");
    }
    for (action, properties) in [("objectsSubscribe", object), ("audiencesAddMember", member)] {
        let id = scene.act(action, "user-1", properties).await;
        let dead = scene.until(&id, State::Dead).await;
        assert_eq!(dead.reason_code, "rejected", "{dead:?}");
    }
    // What Knock says of a path that it does not have: the base URL is wrong, perhaps.
    scene.knock.fate(|_, _| {
        let body = r#"{"errors":{"detail":"404 Not Found"}}"#.to_owned();
        Fate::Fault(Answer::Reply { status: 404, headers: String::new(), body })
    });
    let id = scene.act("usersDelete", "user-1", json!({"id": "user-1"})).await;
    let dead = scene.until(&id, State::Dead).await;
    assert_eq!((&*dead.reason_code, &*dead.reason), ("rejected", "Knock answered 404 Not Found"));
}

#[tokio::test]
async fn errors_are_told_apart_by_their_code() {
    let scene = Scene::twelve().await;
    for (status, code, reason) in [
        (422, "invalid_params", "invalid_params"),
        (404, "workflow_missing", "workflow_missing"),
        (422, "workflow_inactive", "workflow_inactive"),
        (400, "actor_missing", "actor_missing"),
        (400, "channel_invalid", "channel_invalid"),
        (400, "what_is_new", "rejected"),
        (413, "too_much", "rejected"),
    ] {
        scene.knock.next([Fate::error(status, code)]);
        let id = scene.trigger("user-1").await;
        let dead = scene.until(&id, State::Dead).await;
        assert_eq!((&*dead.reason_code, dead.attempts), (reason, 1), "{dead:?}");
        assert!(dead.reason.starts_with(&format!("Knock answered {status} ")), "{dead:?}");
        assert!(dead.reason.ends_with(&format!(": told so by the test ({code})")), "{dead:?}");
    }
    scene.knock.next([Fate::Fault(Answer::Status(301, "location: /v2\r\n".to_owned()))]);
    let id = scene.trigger("user-1").await;
    let dead = scene.until(&id, State::Dead).await;
    assert_eq!(dead.reason_code, "redirect", "{dead:?}");
    // The lane goes on behind all of them.
    let id = scene.trigger("user-1").await;
    scene.until(&id, State::Delivered).await;
}

#[tokio::test]
async fn answers_that_never_end_or_make_no_sense_count_by_their_status() {
    let scene = Scene::twelve().await;
    let html = Answer::Reply { status: 200, headers: String::new(), body: "<html>".to_owned() };
    scene.knock.next([Fate::Unheard(Answer::Endless), Fate::Unheard(html)]);
    for user in ["user-1", "user-2"] {
        let id = scene.trigger(user).await;
        let action = scene.until(&id, State::Delivered).await;
        assert_eq!((&*action.answer, action.attempts), ("200 OK", 1));
    }
    assert_eq!(scene.knock.asked().len(), 2);
}

#[tokio::test]
async fn no_answer_within_half_a_minute_is_a_failure() {
    let scene = Scene::twelve().await;
    scene.knock.next([Fate::Unheard(Answer::Never)]);
    let id = scene.trigger("user-1").await;
    let action = scene.once(&id, SECOND * 60, |it| it.state() == State::Delivered).await;
    assert_eq!(reasons(&action), ["timeout"]);
    let asked = scene.knock.asked();
    assert!(asked[1].at - asked[0].at >= SECOND * 30 - EARLY);
    assert!(action.answer.contains("replayed"), "{action:?}");
}
