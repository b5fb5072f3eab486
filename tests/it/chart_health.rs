//! What GitOps tools make of a source in every state that the operator reports: Argo CD by our
//! script, Flux by kstatus. Both must say the same.

use segment_source_tests::{
    health::{Health, health},
    kube::tools,
};
use serde_json::{Value, json};

/// Whether there is the tool that asks both; `tests/tools/health` is its source.
fn available() -> bool {
    tools::available(&["health"])
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Any", "message": message})
}

/// A source of generation 2, as the operator saw it at this generation.
fn source(observed: i64, conditions: &[Value]) -> Value {
    json!({
        "apiVersion": "segment-source.dev/v1alpha1",
        "kind": "SegmentSource",
        "metadata": {"name": "web", "namespace": "prod", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

#[track_caller]
fn check(object: &Value, kstatus: &str, argo: &str, message: &str) {
    let (kstatus, argo) = (kstatus.to_owned(), argo.to_owned());
    assert_eq!(health(object), Health { kstatus, argo, message: message.to_owned() }, "{object}");
}

#[test]
fn nothing_reported_yet() {
    if !available() {
        return;
    }
    // Without a status kstatus takes every object for done; Argo CD waits.
    let mut new = source(0, &[]);
    new["status"] = Value::Null;
    check(&new, "Current", "Progressing", "Waiting for the operator");
    new["status"] = json!({});
    check(&new, "Current", "Progressing", "Waiting for the operator");
}

#[test]
fn an_older_generation_says_nothing_about_this_one() {
    if !available() {
        return;
    }
    let seen = "Waiting for the operator to see the last change";
    let ready = condition("Ready", "True", "ready");
    check(&source(1, &[ready]), "InProgress", "Progressing", seen);
    let stalled = condition("Stalled", "True", "bad path");
    check(&source(1, &[stalled]), "InProgress", "Progressing", seen);
}

#[test]
fn ready_is_healthy() {
    if !available() {
        return;
    }
    let accepted = condition("Accepted", "True", "accepted");
    let ready = condition("Ready", "True", "every replica has it");
    let mut source = source(2, &[accepted, ready]);
    check(&source, "Current", "Healthy", "every replica has it");
    source["spec"]["suspend"] = "Delivery".into();
    check(&source, "Current", "Healthy", "Suspended: Delivery");
}

#[test]
fn stalled_is_degraded_and_the_rest_heals() {
    if !available() {
        return;
    }
    let bad = "spec.mappings[0].when: no such function";
    let stalled = [condition("Ready", "False", "no"), condition("Stalled", "True", bad)];
    check(&source(2, &stalled), "Failed", "Degraded", bad);
    let missing = "Secret segment-web has no key signing-secret";
    let not_ready = condition("Ready", "False", missing);
    check(&source(2, &[not_ready]), "InProgress", "Progressing", missing);
    let none = "no replica is connected";
    check(&source(2, &[condition("Ready", "Unknown", none)]), "InProgress", "Progressing", none);
    let over = [condition("Stalled", "False", "no"), condition("Ready", "True", "ready")];
    check(&source(2, &over), "Current", "Healthy", "ready");
}
