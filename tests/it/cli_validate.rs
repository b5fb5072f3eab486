//! `validate`: every kind of mistake is found at once, with file, field path and reason.

use segment_source_tests::{
    command::{Finished, run},
    manifest::{documents, identify_mapping, signing_secret, source, welcome_mapping},
    site::Site,
};
use serde_json::{Value, json};

async fn validate(text: &str) -> Finished {
    let site = Site::new();
    site.write_text("manifest.yaml", text);
    let file = site.config().join("manifest.yaml").display().to_string();
    run(&["validate", &file]).await
}

async fn check(spec: Value, field: &str, about: &str) {
    let bad = source("web", spec);
    let finished = validate(&documents(&[signing_secret(), bad])).await.exits(1);
    let said = finished.said();
    for part in ["manifest.yaml", field, about] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

#[tokio::test]
async fn a_good_manifest_is_good() {
    let good = source("web", json!({"mappings": [identify_mapping(), welcome_mapping()]}));
    validate(&documents(&[signing_secret(), good.clone()])).await.exits(0);
    let file = Site::new();
    file.write("a.yaml", &[signing_secret()]);
    file.write("b.yaml", &[good]);
    let paths = ["a.yaml", "b.yaml"].map(|name| file.config().join(name).display().to_string());
    run(&["validate", &paths[0], &paths[1]]).await.exits(0);
    run(&["validate", "--output", "json", &paths[0], &paths[1]]).await.exits(0).json_lines();
}

#[tokio::test]
async fn each_mistake_is_found_with_its_field() {
    let mapping = |change: fn(&mut Value)| {
        let mut mapping = welcome_mapping();
        change(&mut mapping);
        json!({"mappings": [mapping]})
    };
    check(json!({"mapings": []}), "spec", "mapings").await;
    check(mapping(|m| m["wen"] = json!("true")), "spec.mappings[0]", "wen").await;
    check(
        mapping(|m| m["action"]["workflowsTrigger"]["recipients"] = json!({"path": "body..x"})),
        "spec.mappings[0].action.workflowsTrigger.recipients",
        "body..x",
    )
    .await;
    check(json!({"eventTypePath": "body.a["}), "spec.eventTypePath", "body.a[").await;
    check(mapping(|m| m["when"] = json!("body.x ==")), "spec.mappings[0].when", "").await;
    check(
        json!({"preprocess": [{"name": "p", "expression": "1 +"}]}),
        "spec.preprocess[0].expression",
        "",
    )
    .await;
    check(
        json!({"mappings": [welcome_mapping(), welcome_mapping()]}),
        "spec.mappings[1]",
        "welcome",
    )
    .await;
    check(
        mapping(|m| m["action"]["usersDelete"] = json!({"id": {"path": "body.userId"}})),
        "spec.mappings[0].action",
        "",
    )
    .await;
    check(mapping(|m| m["action"] = json!({})), "spec.mappings[0].action", "").await;
    check(
        mapping(|m| m["action"] = json!({"usersInvent": {}})),
        "spec.mappings[0].action",
        "usersInvent",
    )
    .await;
    check(
        mapping(|m| m["destination"] = json!("nowhere")),
        "spec.mappings[0].destination",
        "nowhere",
    )
    .await;
    check(
        json!({"destinations": [{"name": "crm", "http": {"url": "https://me@example.com"}}]}),
        "spec.destinations[0].http.url",
        "user name",
    )
    .await;
    check(
        json!({"destinations": [{"name": "knock", "knock": {
            "apiKeySecretRef": {"name": "segment", "key": "signing-secret"},
            "baseUrl": "https://example.com/v1/"}}]}),
        "spec.destinations[0].knock.baseUrl",
        "slash at the end",
    )
    .await;
    check(
        mapping(|m| m["destination"] = json!("directory")),
        "spec.mappings[0].destination",
        "runs no workflows",
    )
    .await;
    check(json!({"delivery": {"maxAge": "169h"}}), "spec.delivery.maxAge", "168h").await;
    check(json!({"retention": {"age": "1m"}}), "spec.retention.age", "1h").await;
    check(json!({"retention": {"size": "1Ki"}}), "spec.retention.size", "1Mi").await;
    check(json!({"idempotency": {"window": "10s"}}), "spec.idempotency.window", "10s").await;
    check(json!({"idempotency": {"window": "31d"}}), "spec.idempotency.window", "not a duration")
        .await;
    check(json!({"rateLimit": {"eventsPerSecond": 0}}), "spec.rateLimit.eventsPerSecond", "").await;
    check(json!({"verification": {"mode": "Sometimes"}}), "spec.verification.mode", "Enforce")
        .await;
    check(
        json!({"verification": {"batches": {"policy": "FirstElement"}}}),
        "spec.verification.batches",
        "requireHeader",
    )
    .await;
    check(json!({"retention": {"redact": ["body.messageId"]}}), "spec.retention.redact[0]", "")
        .await;
    let five: Vec<Value> =
        (0..5).map(|n| json!({"name": "segment", "key": format!("k{n}")})).collect();
    check(json!({"verification": {"secretRefs": five}}), "spec.verification.secretRefs", "4").await;
    let cancel = json!({"name": "stop", "eventType": "track/Signed Up", "action": {
        "workflowsCancel": {"workflow": "welcome", "cancellationKey": {"path": "userId"}}}});
    check(json!({"mappings": [welcome_mapping(), cancel]}), "spec.mappings[", "welcome").await;
}

#[tokio::test]
async fn a_missing_secret_is_told() {
    let finished = validate(&documents(&[source("web", json!({}))])).await;
    assert!(finished.said().contains("segment"), "{}", finished.said());
    assert!(finished.said().contains("signing-secret"), "{}", finished.said());
}

#[tokio::test]
async fn all_mistakes_of_a_file_are_told_at_once() {
    let text = documents(&[
        signing_secret(),
        source("web", json!({"eventTypePath": "body..a", "timestampPath": "body..b"})),
        source("shop", json!({"suspend": "Everything"})),
    ]);
    let finished = validate(&text).await.exits(1);
    for part in ["web", "shop", "spec.eventTypePath", "spec.timestampPath", "spec.suspend"] {
        assert!(finished.said().contains(part), "no {part} in:\n{}", finished.said());
    }
}

#[tokio::test]
async fn files_that_are_no_manifests_are_told_with_their_line() {
    for text in ["a: [", "just text", "---\nkind: SegmentSource\n", "{\"a\": 1", "\u{0}"] {
        let finished = validate(text).await.exits(1);
        assert!(finished.said().contains("manifest.yaml"), "{text}: {}", finished.said());
    }
    let missing = run(&["validate", "does-not-exist.yaml"]).await.exits(1);
    assert!(missing.said().contains("does-not-exist.yaml"), "{}", missing.said());
    let (secret, name) = ("cyQg", "signing-secret");
    let bad_base64 = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: test}}\ndata: {{{name}: \"{secret}!!\"}}\n"
    );
    let finished = validate(&bad_base64).await.exits(1);
    assert!(!finished.said().contains(secret), "a secret value is shown: {}", finished.said());
}
