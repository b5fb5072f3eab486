//! What an API server tells people and tools about SegmentSource: every field is described, nothing
//! under spec has a default, and no number is of a format that clients do not know.

use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    sources::Sources,
    wait::eventually,
};
use serde_json::Value;

const DOCUMENT: &str = "/openapi/v3/apis/segment-source.dev/v1alpha1";
const SCHEMA: &str = "/components/schemas/dev.segment-source.v1alpha1.SegmentSource/properties";

/// The schema as it is served, which is a while after the definition is established.
async fn served(api: &ApiServer) -> Value {
    eventually("the schema is served", || async {
        let said = api.kubectl(&["get", "--raw", DOCUMENT], "").await;
        let document: Value = serde_json::from_str(&said.out).ok()?;
        Some(document.pointer(SCHEMA)?.clone())
    })
    .await
}

/// Calls `look` with every field below, and its path.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        look(&path, field);
        walk(&path, field, look);
    }
    for (inside, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[inside].is_object() {
            walk(&format!("{path}{mark}"), &schema[inside], look);
        }
    }
}

#[tokio::test]
async fn every_field_is_described_and_none_has_a_default() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = ApiServer::shared(version).await else { return };
        let sources = Sources::new(api, "described").await;
        let schema = served(api).await;
        let mut count = 0;
        let mut wrong = Vec::new();
        for part in ["spec", "status"] {
            let mut look = |path: &str, field: &Value| {
                count += 1;
                let text = field["description"].as_str().unwrap_or_default();
                if text.trim().len() < 8 {
                    wrong.push(format!("{path} has no description"));
                }
                if !field["default"].is_null() {
                    wrong.push(format!("{path} has a default, which GitOps tools see as drift"));
                }
                if field["format"].as_str().is_some_and(|it| it.starts_with("uint")) {
                    wrong.push(format!("{path} is of a format that Kubernetes does not have"));
                }
            };
            look(part, &schema[part]);
            walk(part, &schema[part], &mut look);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(count > 80, "only {count} fields");
        drop(sources);
    }
}

#[tokio::test]
async fn kubectl_explains_it() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = ApiServer::shared(version).await else { return };
        let sources = Sources::new(api, "explained").await;
        served(api).await;
        let explain = async |field: &str| api.kubectl(&["explain", field], "").await.exits(0).out;
        // By its short name, and by its own.
        for name in ["segsrc", "segmentsources"] {
            let said = explain(&format!("{name}.spec")).await;
            assert!(!said.contains("<no description>"), "{said}");
            for word in ["verification", "-required-", "mappings", "<[]Object>", "DESCRIPTION:"] {
                assert!(said.contains(word), "no {word} in:\n{said}");
            }
        }
        // Bounds that the schema has as an enum are told, too.
        let said = explain("segsrc.spec.suspend").await;
        let words: Vec<&str> = said.split_whitespace().collect();
        assert!(words.windows(3).any(|it| it == ["ENUM:", "Intake", "Delivery"]), "{said}");
        drop(sources);
    }
}
