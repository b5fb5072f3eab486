//! The manifests that tests apply. They are JSON, which is YAML too.

use serde_json::{Value, json};

use crate::sign::SECRET;

/// Namespace of all test sources.
pub const NAMESPACE: &str = "test";

/// A SegmentSource whose signing secret is the one of [`secret`]; `spec` adds to that and may
/// replace it.
///
/// # Panics
/// When `spec` is no object.
#[must_use]
pub fn source(name: &str, spec: Value) -> Value {
    let secret = json!([{"name": "segment", "key": "signing-secret"}]);
    let mut all = json!({"verification": {}, "mappings": []});
    merge(&mut all, spec);
    if all["verification"].get("secretRefs").is_none() {
        all["verification"]["secretRefs"] = secret;
    }
    json!({
        "apiVersion": "segment-source.dev/v1alpha1",
        "kind": "SegmentSource",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": all,
    })
}

/// A Secret with one key, given in plain text.
#[must_use]
pub fn secret(name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {key: value},
    })
}

/// The Secret that [`source`] names.
#[must_use]
pub fn signing_secret() -> Value {
    secret("segment", "signing-secret", SECRET)
}

/// A mapping that makes an action in the queue of every identify.
#[must_use]
pub fn identify_mapping() -> Value {
    json!({
        "name": "people",
        "eventType": "identify",
        "destination": "default",
        "action": {"usersIdentify": {"id": {"path": "body.userId"}, "name": {"path": "body.traits.name"}}},
    })
}

/// A mapping that triggers workflow `welcome` for every `track/Signed Up`.
#[must_use]
pub fn welcome_mapping() -> Value {
    json!({
        "name": "welcome",
        "eventType": "track/Signed Up",
        "action": {"workflowsTrigger": {
            "workflow": "welcome",
            "recipients": {"path": "body.userId"},
            "data": {"path": "body.properties"},
        }},
    })
}

/// One that the schema admits and the compiler refuses: its expression is none.
#[must_use]
pub fn broken_mapping() -> Value {
    let mut mapping = welcome_mapping();
    mapping["when"] = json!("body.x ==");
    mapping
}

/// Several manifests as one file.
#[must_use]
pub fn documents(manifests: &[Value]) -> String {
    manifests.iter().map(|manifest| format!("---\n{manifest:#}\n")).collect()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A spec by which every `track/Signed Up` is an action posted to this URL.
#[must_use]
pub fn signed_up_to(url: &str) -> Value {
    json!({
        "destinations": [{"name": "crm", "http": {"url": url, "format": "Action"}}],
        "mappings": [{
            "name": "signed-up",
            "eventType": "track/Signed Up",
            "destination": "crm",
            "action": {"usersIdentify": {"id": {"path": "body.userId"}}},
        }],
    })
}
