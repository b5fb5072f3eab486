//! The health check for Argo CD, run as Argo CD runs it, for every state that the operator reports.

use mlua::{Lua, LuaSerdeExt as _};
use segment_source_tests::chart::chart;
use serde_json::{Value, json};

/// Status and message.
fn health(object: &Value) -> (String, String) {
    let script = std::fs::read_to_string(chart("argo-cd/health.lua")).expect("the script is there");
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(object).expect("a table")).expect("a global");
    let answer: mlua::Table = lua.load(script).eval().expect("the script ends");
    (answer.get("status").expect("a status"), answer.get("message").expect("a message"))
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Any", "message": message})
}

/// A source of generation 2, as the operator saw it at this generation.
fn source(observed: i64, conditions: &[Value]) -> Value {
    json!({
        "metadata": {"name": "web", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

#[track_caller]
fn check(object: &Value, status: &str, message: &str) {
    assert_eq!(health(object), (status.to_owned(), message.to_owned()), "{object}");
}

#[test]
fn nothing_reported_yet() {
    let new = json!({"metadata": {"generation": 1}, "spec": {}});
    check(&new, "Progressing", "Waiting for the operator");
    let mut empty = new;
    empty["status"] = json!({});
    check(&empty, "Progressing", "Waiting for the operator");
    check(&source(2, &[]), "Progressing", "Waiting for the operator");
}

#[test]
fn an_older_generation_says_nothing_about_this_one() {
    let seen = "Waiting for the operator to see the last change";
    check(&source(1, &[condition("Ready", "True", "ready")]), "Progressing", seen);
    check(&source(1, &[condition("Stalled", "True", "bad path")]), "Progressing", seen);
}

#[test]
fn ready_is_healthy() {
    let accepted = condition("Accepted", "True", "accepted");
    let ready = condition("Ready", "True", "every replica has it");
    check(&source(2, &[accepted.clone(), ready.clone()]), "Healthy", "every replica has it");
    let mut suspended = source(2, &[accepted, ready]);
    suspended["spec"]["suspend"] = "Delivery".into();
    check(&suspended, "Healthy", "Suspended: Delivery");
}

#[test]
fn stalled_is_degraded_and_the_rest_heals() {
    let bad = "spec.mappings[0].when: no such function";
    let stalled = [condition("Ready", "False", "no"), condition("Stalled", "True", bad)];
    check(&source(2, &stalled), "Degraded", bad);
    let missing = "Secret segment-web has no key signing-secret";
    check(&source(2, &[condition("Ready", "False", missing)]), "Progressing", missing);
    let unknown = condition("Ready", "Unknown", "no replica is connected");
    check(&source(2, &[unknown]), "Progressing", "no replica is connected");
    let over = [condition("Stalled", "False", "no"), condition("Ready", "True", "ready")];
    check(&source(2, &over), "Healthy", "ready");
}
