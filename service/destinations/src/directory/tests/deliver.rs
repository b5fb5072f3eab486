//! Actions into the directory: what becomes of them, and what is said of it.

use segment_source_store::directory::erase_user;

use super::{Rig, action, member, object, source, subscription, user};
use crate::delivery::Outcome;

const ONE: &str = r#"{"id":"u1","name":"Ada","plan":"pro"}"#;

#[tokio::test]
async fn a_late_older_identify_overwrites_nothing_and_says_so() {
    let rig = Rig::new();
    assert_eq!(rig.did(10, "users_identify", ONE).await, "");
    let late = r#"{"id":"u1","name":"Old","plan":"free","city":"Rome"}"#;
    let answer = rig.did(5, "users_identify", late).await;
    assert_eq!(answer, "2 of 3 values are older than what is known");
    let known = r#"{"city":"Rome","name":"Ada","plan":"pro"}"#;
    assert_eq!(rig.properties(user("u1")).await.as_deref(), Some(known));
    let entity = rig.get(user("u1")).await.unwrap();
    assert_eq!(entity.updated.unwrap().seconds, 1_795_564_810);
    // The same again is not another change.
    rig.did(5, "users_identify", late).await;
    assert_eq!(rig.get(user("u1")).await.unwrap().revision, entity.revision);
}

#[tokio::test]
async fn a_whole_take_is_done_in_order_and_each_has_its_own_outcome() {
    let rig = Rig::new();
    let outcomes = rig
        .deliver(&[
            action(1, "users_identify", ONE),
            action(2, "users_identify", r#"{"id":"u1","plan":"free"}"#),
            action(3, "workflows_trigger", r#"{"workflow":"w","recipients":["u1"]}"#),
            action(4, "users_identify", &format!(r#"{{"id":"{}"}}"#, "x".repeat(257))),
            action(5, "pigeons_send", "{}"),
            action(6, "tenants_set", r#"{"id":"t1","name":"Acme"}"#),
        ])
        .await;
    let done = Outcome::Done { answer: String::new() };
    assert_eq!((&outcomes[0], &outcomes[1], &outcomes[5]), (&done, &done, &done));
    for (at, expected, part) in [
        (2, "not_for_directory", "workflows_trigger"),
        (3, "invalid_id", "256 characters"),
        (4, "not_for_directory", "pigeons_send"),
    ] {
        match &outcomes[at] {
            Outcome::Dead { code, message } => {
                assert_eq!(*code, expected);
                assert!(message.contains(part), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let known = r#"{"name":"Ada","plan":"free"}"#;
    assert_eq!(rig.properties(user("u1")).await.as_deref(), Some(known));
}

#[tokio::test]
async fn deleting_a_user_ends_what_is_of_it_whatever_comes_first() {
    let subscribe = r#"{"collection":"repos","id":"r1","recipients":["u1","u2"]}"#;
    let add = r#"{"audience":"vip","members":[{"user":{"id":"u1"}},{"user":{"id":"u2"}}]}"#;
    let (delete, identify) = (r#"{"id":"u1"}"#, r#"{"id":"u1","name":"Ada"}"#);
    let steps = [
        (1, "users_identify", identify),
        (2, "objects_subscribe", subscribe),
        (3, "audiences_add_member", add),
        (4, "users_delete", delete),
    ];
    for first in 0..steps.len() {
        let rig = Rig::new();
        let mut answers = Vec::new();
        for at in 0..steps.len() {
            let (second, action, payload) = steps[(first + at) % steps.len()];
            answers.push(rig.did(second, action, payload).await);
        }
        for key in [user("u1"), subscription("u1"), member("u1")] {
            assert_eq!(rig.properties(key.clone()).await, None, "{key:?}, {first} first");
        }
        for key in [subscription("u2"), member("u2")] {
            assert_eq!(rig.properties(key).await.as_deref(), Some("{}"), "{first} first");
        }
        if first == 0 {
            assert_eq!(answers[3], "2 subscriptions and memberships ended with it");
        }
        if first == 3 {
            assert_eq!(answers[1], "1 of 1 entries were deleted by a newer event");
            assert_eq!(answers[2], "1 of 2 entries were deleted by a newer event");
        }
        // What is newer makes all of it anew.
        rig.did(5, "objects_subscribe", subscribe).await;
        rig.did(5, "users_identify", r#"{"id":"u1","plan":"pro"}"#).await;
        assert_eq!(rig.properties(subscription("u1")).await.as_deref(), Some("{}"));
        assert_eq!(rig.properties(user("u1")).await.as_deref(), Some(r#"{"plan":"pro"}"#));
        let answer = rig.did(4, "users_delete", delete).await;
        assert_eq!(answer, "1 of 1 entries are known from a newer event and stay");
        assert_eq!(rig.properties(subscription("u1")).await.as_deref(), Some("{}"));
    }
}

#[tokio::test]
async fn deleting_an_object_ends_its_subscriptions() {
    let rig = Rig::new();
    let many: Vec<String> = (0..1_000).map(|n| format!("\"u{n}\"")).collect();
    let subscribe =
        format!(r#"{{"collection":"repos","id":"r1","recipients":[{}]}}"#, many.join(","));
    assert_eq!(rig.did(1, "objects_subscribe", &subscribe).await, "");
    assert_eq!(rig.properties(subscription("u999")).await.as_deref(), Some("{}"));
    let answer = rig.did(2, "objects_delete", r#"{"collection":"repos","id":"r1"}"#).await;
    assert_eq!(
        answer, "1000 subscriptions and memberships ended with it",
        "also of an object that was never set"
    );
    assert_eq!(rig.properties(subscription("u999")).await, None);
    let late = rig.did(1, "objects_subscribe", &subscribe).await;
    assert_eq!(late, "1000 of 1000 entries were deleted by a newer event");
}

#[tokio::test]
async fn recipients_are_identified_in_passing_and_missing_until_then() {
    let rig = Rig::new();
    let subscribe = r#"{"collection":"repos","id":"r1","recipients":["u1",{"id":"u2","name":"B"},
        {"collection":"teams","id":"t","x":1}],"properties":{"role":"owner"}}"#;
    rig.did(1, "objects_subscribe", subscribe).await;
    let first = rig.get(subscription("u1")).await.unwrap();
    assert!(first.missing);
    assert_eq!(&first.properties_json[..], br#"{"role":"owner"}"#);
    assert!(!rig.get(subscription("u2")).await.unwrap().missing);
    assert_eq!(rig.properties(user("u2")).await.as_deref(), Some(r#"{"name":"B"}"#));
    assert_eq!(rig.properties(object("teams", "t")).await.as_deref(), Some(r#"{"x":1}"#));
    assert_eq!(rig.properties(user("u1")).await, None);
    rig.did(2, "users_identify", r#"{"id":"u1"}"#).await;
    assert!(!rig.get(subscription("u1")).await.unwrap().missing);
    let unsubscribe = r#"{"collection":"repos","id":"r1","recipients":["u1"]}"#;
    rig.did(3, "objects_unsubscribe", unsubscribe).await;
    assert_eq!(rig.properties(subscription("u1")).await, None);
}

#[tokio::test]
async fn an_entry_does_not_grow_without_end() {
    let rig = Rig::new();
    let big = |key: &str| format!(r#"{{"id":"u1","{key}":"{}"}}"#, "x".repeat(100 << 10));
    rig.did(1, "users_identify", &big("a")).await;
    rig.did(2, "users_identify", &big("b")).await;
    let outcomes = rig
        .deliver(&[
            action(3, "users_identify", &big("c")),
            action(4, "users_identify", r#"{"id":"u1","plan":"pro"}"#),
        ])
        .await;
    assert!(matches!(outcomes[0], Outcome::Dead { code: "too_large", .. }), "{:?}", outcomes[0]);
    assert_eq!(outcomes[1], Outcome::Done { answer: String::new() });
    let known = rig.properties(user("u1")).await.unwrap();
    assert!(!known.contains("\"c\"") && known.contains("\"plan\""), "the rest is there");
    // In place of what is there it fits.
    rig.did(5, "users_identify", &big("a")).await;
}

#[tokio::test]
async fn who_is_erased_leaves_nothing_but_that_it_was_deleted() {
    let rig = Rig::new();
    let now = 1_795_564_800_000 + 10_000_000;
    for n in 0..600 {
        let subscribe = format!(r#"{{"collection":"repos","id":"r{n}","recipients":["u1","u2"]}}"#);
        rig.did(1, "objects_subscribe", &subscribe).await;
    }
    let add = r#"{"audience":"vip","members":[{"user":{"id":"u1"}}]}"#;
    rig.did(1, "audiences_add_member", add).await;
    rig.did(2, "users_identify", ONE).await;
    let erased = erase_user(&rig.store, &source(), "u1", now).await.unwrap();
    assert_eq!(erased, 602);
    let (left, _) = rig.store.directory_scan(&source(), "".into(), None, 5_000).await.unwrap();
    let traces: Vec<_> = left
        .iter()
        .filter(|(key, record)| {
            [key, &record.value].iter().any(|it| it.windows(2).any(|w| w == b"u1"))
        })
        .collect();
    assert_eq!(traces.len(), 1, "the user's own");
    assert!(!traces[0].1.value.windows(3).any(|it| it == b"Ada" || it == b"pro"));
    assert_eq!(left.len(), 1 + 2 * 600);
    assert_eq!(rig.properties(user("u1")).await, None);
    // Events from before come late, or again: nothing.
    rig.did(3, "users_identify", ONE).await;
    rig.did(3, "audiences_add_member", add).await;
    assert_eq!(rig.properties(user("u1")).await, None);
    assert_eq!(rig.properties(member("u1")).await, None);
    let (after, _) = rig.store.directory_scan(&source(), "".into(), None, 5_000).await.unwrap();
    assert_eq!(after.len(), left.len());
    assert_eq!(erase_user(&rig.store, &source(), "u1", now).await, Ok(0));
    assert_eq!(erase_user(&rig.store, &source(), "nobody", now).await, Ok(0));
    assert_eq!(erase_user(&rig.store, &source(), "", now).await, Ok(0));
}
