//! Schemas for kubeconform, made from what an API server says of itself (`/openapi/v3`), because
//! those that it would fetch cannot be had everywhere, and know no SegmentSource. Pure: documents
//! in, files out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What to give kubeconform as `-schema-location`, after the folder and a slash.
pub const TEMPLATE: &str = "{{ .Group }}-{{ .ResourceAPIVersion }}-{{ .ResourceKind }}.json";

/// Name and content of one file for every kind in a document of `/openapi/v3`. Fields that a schema
/// does not name are forbidden in it, as a server with strict field validation has it.
#[must_use]
pub fn files(document: &Value) -> BTreeMap<String, Value> {
    let mut components = document["components"].clone();
    if let Some(all) = components["schemas"].as_object_mut() {
        all.values_mut().for_each(close);
    }
    let empty = Map::new();
    let mut files = BTreeMap::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap_or(&empty) {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten() {
            let part = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
            let (group, version) = (part("group"), part("version"));
            // What kubeconform takes for the group of the kinds that have none.
            let group = if group.is_empty() { version.clone() } else { group };
            let file = format!("{group}-{version}-{}.json", part("kind"));
            let root = json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": components,
            });
            files.insert(file, root);
        }
    }
    files
}

/// Makes a schema of OpenAPI one of JSON Schema that takes nothing unknown.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(fields) => {
            // Names below `properties` are names of fields, not words of the schema.
            if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
                properties.values_mut().for_each(close);
            }
            for word in ["items", "allOf", "oneOf", "anyOf", "not", "additionalProperties"] {
                if let Some(inner) = fields.get_mut(word) {
                    close(inner);
                }
            }
            let keeps = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            if fields.contains_key("properties")
                && !fields.contains_key("additionalProperties")
                && !keeps
            {
                fields.insert("additionalProperties".into(), false.into());
            }
            if fields.remove("nullable") == Some(json!(true))
                && let Some(Value::String(kind)) = fields.get("type")
            {
                let kinds = json!([kind, "null"]);
                fields.insert("type".into(), kinds);
                if let Some(Value::Array(values)) = fields.get_mut("enum") {
                    values.push(Value::Null);
                }
            }
        }
        _ => {}
    }
}
