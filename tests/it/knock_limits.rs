//! Knock says that it is called too often, or that the key is none: what waits then, for how long,
//! and what goes on.

use std::{sync::Arc, time::Duration};

use segment_source_proto::admin::v1::{ReleaseRequest, action::State};
use segment_source_tests::{
    knock::{Fate, KEY, Scene, spec, twelve},
    manifest::{NAMESPACE, source},
    sign::{fresh_id, track},
    sink::{Answer, Asked},
    wait::eventually,
};
use serde_json::json;
use tokio::sync::Notify;

const SECOND: Duration = Duration::from_secs(1);

/// Timers of the engine are not more exact than that.
const EARLY: Duration = Duration::from_millis(10);

/// Another key.
const OTHER: &str = "not-a-real-key-either";

fn triggers(asked: &[Asked]) -> Vec<&Asked> {
    asked.iter().filter(|it| it.target.ends_with("/trigger")).collect()
}

#[tokio::test]
async fn retry_after_stops_all_triggers_with_the_key_and_nothing_else() {
    let scene = Scene::twelve().await;
    // Another source with the same key.
    scene.site.write("shop.yaml", &[source("shop", spec(&scene.knock, twelve()))]);
    scene.knock.next([Fate::error_with(429, "rate_limited", "retry-after: 3\r\n")]);
    let first = scene.trigger("user-1").await;
    scene.once(&first, SECOND * 30, |it| it.reason_code == "rate_limited").await;
    let second = scene.trigger("user-2").await;
    let mut event = track(&fresh_id(), "user-3", "workflowsTrigger");
    event["properties"] = json!({"recipients": "user-3"});
    let posted = || async {
        let reply = scene.server.post("shop", event.to_string()).await;
        (reply.status == 202).then_some(())
    };
    eventually("the other source is there", posted).await;
    let identify = scene.identify("user-4").await;
    scene.until(&identify, State::Delivered).await;
    let before = scene.knock.asked();
    assert_eq!(triggers(&before).len(), 1, "a trigger came before its time");

    let asked = scene.knock.until(5).await;
    let all = triggers(&asked);
    assert_eq!(all.len(), 4, "{all:#?}");
    for again in &all[1..] {
        let waited = again.at - all[0].at;
        assert!(waited >= SECOND * 3 - EARLY, "{waited:?}");
    }
    for id in [first, second] {
        scene.until(&id, State::Delivered).await;
    }
}

#[tokio::test]
async fn a_limit_without_retry_after_is_left_alone_for_a_second() {
    let scene = Scene::twelve().await;
    scene.knock.next([Fate::status(429)]);
    let id = scene.identify("user-1").await;
    let action = scene.until(&id, State::Delivered).await;
    assert_eq!((action.attempts, &*action.history[0].reason_code), (2, "rate_limited"));
    let asked = scene.knock.asked();
    assert!(asked[1].at - asked[0].at >= SECOND - EARLY, "{:?}", asked[1].at - asked[0].at);
}

#[tokio::test]
async fn calls_come_no_faster_than_they_may() {
    let scene = Scene::with(twelve(), &[("knock-rate", "3=10,2=7")]).await;
    for user in 0..24 {
        scene.identify(&format!("user-{user}")).await;
    }
    let trigger = scene.trigger("user-1").await;
    scene.until(&trigger, State::Delivered).await;
    let asked = scene.knock.until(25).await;
    let calls: Vec<_> = asked.iter().filter(|it| it.method == "PUT").collect();
    assert_eq!(calls.len(), 24);
    // Nine a second evenly, and one saved up.
    let took = calls[23].at - calls[0].at;
    assert!(took >= SECOND * 22 / 9 - EARLY * 2, "{took:?}");
    // Each waited for its turn once.
    let metrics = scene.server.get("/metrics").await.expect("metrics").text();
    let deferred = metrics.lines().find(|line| {
        line.starts_with("segment_source_delivery_deferred_total") && line.contains("knock")
    });
    let deferred = deferred.and_then(|line| line.rsplit(' ').next()).expect("a number");
    let deferred: u32 = deferred.parse().expect("a number");
    assert!((1..=24).contains(&deferred), "{deferred}");
    let waited = triggers(&asked)[0].at < calls[23].at;
    assert!(waited, "a trigger waited for what has another limit");
}

#[tokio::test]
async fn a_key_that_is_refused_holds_its_destination_until_another_one_is_there() {
    let scene = Scene::twelve().await;
    let before = scene.identify("user-0").await;
    scene.until(&before, State::Delivered).await;
    scene.knock.take_keys(&[OTHER]);
    let first = scene.trigger("user-1").await;
    let held = || async { scene.destination().await.hold };
    let hold = eventually("the destination is held", held).await;
    assert!(hold.refused && hold.until.is_none(), "{hold:?}");
    assert_eq!(
        hold.reason,
        "Knock answered 401 Unauthorized: this API key is not known (authentication_required)"
    );
    let line = scene.server.logged("it", |line| line.contains("refuses the credential")).await;
    assert!(
        line.contains("test/web:knock") && line.contains("another one into its Secret"),
        "{line}"
    );
    let metrics = scene.server.get("/metrics").await.expect("metrics").text();
    assert!(metrics.contains("segment_source_delivery_held{kind=\"knock\"} 1\n"), "{metrics}");
    let second = scene.identify("user-2").await;
    scene.until(&second, State::Pending).await;
    let asked = scene.knock.asked().len();
    assert_eq!(asked, 2, "a destination that is held was asked");
    scene.give_key(OTHER);
    for id in [first, second] {
        let action = scene.until(&id, State::Delivered).await;
        assert_eq!(action.attempts, 1, "a refusal counts as an attempt");
    }
    let released = || async { scene.destination().await.hold.is_none().then_some(()) };
    eventually("the hold has ended", released).await;
    assert_eq!(scene.knock.asked().len(), asked + 2);
    let log = scene.server.log();
    assert!(!log.contains(KEY) && !log.contains(OTHER), "a key is in the log");
}

#[tokio::test]
async fn a_destination_that_is_released_asks_with_the_same_key_at_once() {
    let scene = Scene::twelve().await;
    scene.knock.fate(|_, _| Fate::error(403, "permission_denied"));
    let id = scene.trigger("user-1").await;
    let held = || async { scene.destination().await.hold };
    eventually("the destination is held", held).await;
    scene.knock.next([]);
    let (namespace, destination) = (NAMESPACE.to_owned(), "knock".to_owned());
    let release = ReleaseRequest { namespace, name: "web".to_owned(), destination };
    let released = scene.server.admin().await.release(release).await.expect("it is released");
    assert!(released.into_inner().held);
    scene.until(&id, State::Delivered).await;
    assert_eq!(scene.knock.asked().len(), 2);
}

#[tokio::test]
async fn time_in_which_the_key_is_refused_does_not_count() {
    let scene = Scene::twelve().await;
    let mut patient = spec(&scene.knock, twelve());
    patient["delivery"] = json!({"maxAge": "1m"});
    scene.site.write("web.yaml", &[source("web", patient)]);
    // Its clock runs from its first attempt; with the second one it stands still.
    let (failing, refusing) = (Fate::status(503), Fate::error(403, "permission_denied"));
    scene.knock.next([failing.clone(), refusing, failing]);
    let id = scene.trigger("user-1").await;
    let asked = || async { Some(scene.knock.asked().len()).filter(|asked| *asked == 2) };
    eventually("it is refused", asked).await;
    // After a minute it is asked once. An action of that age would be over, and this one fails.
    let action = scene.once(&id, SECOND * 90, |it| it.history.len() == 2 || it.attempts > 2);
    let action = action.await;
    assert_eq!(action.state(), State::Pending, "{action:?}");
    let asked = scene.knock.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[2].at - asked[0].at >= SECOND * 60, "{:?}", asked[2].at - asked[0].at);
    scene.knock.take_keys(&[OTHER]);
    scene.give_key(OTHER);
    scene.until(&id, State::Delivered).await;
}

#[tokio::test]
async fn the_refusal_of_a_key_that_was_replaced_meanwhile_holds_nothing() {
    let scene = Scene::twelve().await;
    scene.knock.take_keys(&[KEY, OTHER]);
    let told = Arc::new(Notify::new());
    let refusal = Box::new(Answer::status(401));
    scene.knock.next([Fate::Fault(Answer::Once(Arc::clone(&told), refusal))]);
    let first = scene.trigger("user-1").await;
    scene.knock.until(1).await;
    scene.give_key(OTHER);
    let in_use = || async {
        let id = scene.identify("user-2").await;
        scene.until(&id, State::Delivered).await;
        let asked = scene.knock.asked().pop()?;
        (asked.header("authorization") == format!("Bearer {OTHER}")).then_some(())
    };
    eventually("the other key is in use", in_use).await;
    told.notify_one();
    scene.until(&first, State::Delivered).await;
    assert!(scene.destination().await.hold.is_none());
    assert!(!scene.server.log().contains("refuses the credential"));
}
