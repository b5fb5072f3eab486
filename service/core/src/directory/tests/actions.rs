//! What each action changes, as a whole.

use super::super::{Change, Key, MAX_PROPERTIES, Recipient, What, changes, recipients};
use crate::{json::Value, mapping::ActionType};

fn shown(key: &Key) -> String {
    let recipient = |recipient: &Recipient| match recipient {
        Recipient::User(id) => format!("user {id}"),
        Recipient::Object(collection, id) => format!("object {collection} {id}"),
    };
    match key {
        Key::Recipient(it) => recipient(it),
        Key::Tenant(id) => format!("tenant {id}"),
        Key::Subscription { collection, id, recipient: it } => {
            format!("{} to {collection} {id}", recipient(it))
        }
        Key::Member { audience, user, tenant } => format!("{user} in {audience} for [{tenant}]"),
    }
}

fn lines(action: &str, payload: &str) -> Vec<String> {
    let changes = changes(action.parse().unwrap(), payload.as_bytes()).unwrap();
    let line = |Change { key, what }: &Change| match what {
        What::Set(map) => format!("{} = {}", shown(key), Value::Object(map.clone())),
        What::Delete => format!("{} deleted", shown(key)),
    };
    changes.iter().map(line).collect()
}

#[test]
fn each_action_changes_what_it_names() {
    for (action, payload, expected) in [
        (
            "users_identify",
            r#"{"id":"u","name":"Ada","preferences":{"a":{}},"plan":null}"#,
            &[r#"user u = {"name":"Ada","preferences":{"a":{}},"plan":null}"#][..],
        ),
        ("users_identify", r#"{"id":"u"}"#, &["user u = {}"]),
        ("users_identify", r#"{"id":"u","collection":"x"}"#, &[r#"user u = {"collection":"x"}"#]),
        ("users_delete", r#"{"id":"u/1#"}"#, &["user u/1# deleted"]),
        (
            "objects_set",
            r#"{"collection":"c","id":"o","name":"x","n":1.50}"#,
            &[r#"object c o = {"name":"x","n":1.50}"#],
        ),
        ("objects_delete", r#"{"collection":"c","id":"o"}"#, &["object c o deleted"]),
        (
            "tenants_set",
            r#"{"id":"t","settings":{"branding":{"primary_color":"red"}}}"#,
            &[r#"tenant t = {"settings":{"branding":{"primary_color":"red"}}}"#],
        ),
        ("tenants_delete", r#"{"id":"t"}"#, &["tenant t deleted"]),
        (
            "objects_subscribe",
            r#"{"collection":"c","id":"o","recipients":["a",{"id":"b"},{"id":"d","name":"D"},
                {"collection":"p","id":"q"},{"collection":"p","id":"r","x":[1]},
                {"id":"d","name":"E","more":1},"a"],"properties":{"role":"owner"}}"#,
            &[
                r#"user a to c o = {"role":"owner"}"#,
                r#"user b to c o = {"role":"owner"}"#,
                r#"user d = {"name":"E","more":1}"#,
                r#"user d to c o = {"role":"owner"}"#,
                r#"object p q to c o = {"role":"owner"}"#,
                r#"object p r = {"x":[1]}"#,
                r#"object p r to c o = {"role":"owner"}"#,
            ],
        ),
        (
            "objects_subscribe",
            r#"{"collection":"c","id":"o","recipients":["a"]}"#,
            &["user a to c o = {}"],
        ),
        (
            "objects_unsubscribe",
            r#"{"collection":"c","id":"o","recipients":["a",{"collection":"p","id":"q"}]}"#,
            &["user a to c o deleted", "object p q to c o deleted"],
        ),
        (
            "audiences_add_member",
            r#"{"audience":"vip","members":[{"user":{"id":"a"}},
                {"user":{"id":"b","name":"B"},"tenant":"t"}],"create_audience":true}"#,
            &["a in vip for [] = {}", r#"user b = {"name":"B"}"#, "b in vip for [t] = {}"],
        ),
        (
            "audiences_remove_member",
            r#"{"audience":"vip","members":[{"user":{"id":"b","name":"B"},"tenant":"t"}]}"#,
            &["b in vip for [t] deleted"],
        ),
    ] {
        assert_eq!(lines(action, payload), expected, "{action} of {payload}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_its_field() {
    let long = "x".repeat(257);
    let long_id = format!(r#"{{"id":"{long}"}}"#);
    let member = format!(r#"{{"audience":"a","members":[{{"user":{{"id":"{long}"}}}}]}}"#);
    let big = format!(r#"{{"id":"u","big":"{}"}}"#, "x".repeat(MAX_PROPERTIES));
    for (action, payload, code, part) in [
        ("workflows_trigger", r#"{"workflow":"w"}"#, "not_for_directory", "workflows_trigger"),
        ("workflows_cancel", r#"{"workflow":"w"}"#, "not_for_directory", "workflows_cancel"),
        ("users_identify", "[]", "invalid_payload", "payload"),
        ("users_identify", "{", "invalid_payload", "payload"),
        ("users_identify", r#"{"id":7}"#, "invalid_payload", "id"),
        ("users_delete", r#"{"id":""}"#, "invalid_payload", "id"),
        ("objects_set", r#"{"id":"o"}"#, "invalid_payload", "collection"),
        ("users_identify", &long_id, "invalid_id", "256 characters"),
        ("audiences_add_member", &member, "invalid_id", "members[0]"),
        ("users_identify", &big, "too_large", "262144"),
        (
            "objects_subscribe",
            r#"{"collection":"c","id":"o","recipients":["a",7]}"#,
            "invalid_payload",
            "recipients[1]",
        ),
        (
            "objects_subscribe",
            r#"{"collection":"c","id":"o","recipients":[["a"]]}"#,
            "invalid_payload",
            "recipients[0]",
        ),
        (
            "objects_subscribe",
            r#"{"collection":"c","id":"o","recipients":[{"id":"a","collection":1}]}"#,
            "invalid_payload",
            "recipients[0].collection",
        ),
        (
            "audiences_add_member",
            r#"{"audience":"a","members":[{"tenant":"t"}]}"#,
            "invalid_payload",
            "members[0].user",
        ),
        ("audiences_add_member", r#"{"audience":"a","members":{}}"#, "invalid_payload", "members"),
    ] {
        let refusal = changes(action.parse().unwrap(), payload.as_bytes()).unwrap_err();
        assert_eq!(refusal.code, code, "{action}: {refusal}");
        assert!(refusal.message.contains(part), "{action}: {refusal}");
        assert!(!refusal.message.contains("xxxx"), "says the value: {refusal}");
    }
}

#[test]
fn every_data_action_is_one_of_a_directory() {
    for action in ActionType::ALL {
        let refused = changes(action, b"{}").unwrap_err().code;
        let workflow = action.as_str().starts_with("workflows_");
        assert_eq!(refused == "not_for_directory", workflow, "{action}");
    }
}

#[test]
fn recipients_are_those_that_an_action_is_for() {
    let user = |id: &str| Recipient::User(id.to_owned());
    let payload = r#"{"recipients":["a",{"id":"b","name":"B"},{"id":"q","collection":"p"},7,"a",
        "",{"id":"n","collection":null}],"data":{"recipients":["x"]}}"#;
    let object = Recipient::Object("p".to_owned(), "q".to_owned());
    assert_eq!(recipients(payload.as_bytes()), [user("a"), user("b"), object, user("n")]);
    let payload = r#"{"audience":"v","members":[{"user":{"id":"a"}},{"user":"b"},{},7]}"#;
    assert_eq!(recipients(payload.as_bytes()), [user("a"), user("b")]);
    for payload in ["", "[]", "{}", r#"{"recipients":"a"}"#] {
        assert_eq!(recipients(payload.as_bytes()), [], "{payload}");
    }
}
