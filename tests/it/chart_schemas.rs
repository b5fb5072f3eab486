//! How kubeconform's schemas are made; the ring kube uses them.

use segment_source_tests::schemas::files;
use serde_json::json;

#[test]
fn a_document_becomes_a_file_for_each_kind() {
    let document = json!({"components": {"schemas": {
        "io.x.Thing": {
            "type": "object",
            "properties": {
                "properties": {"type": "string", "nullable": true, "enum": ["a"]},
                "spec": {"allOf": [{"$ref": "#/components/schemas/io.x.Spec"}]},
                "free": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}},
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
            "x-kubernetes-group-version-kind": [
                {"group": "x.io", "version": "v1", "kind": "Thing"},
                {"group": "", "version": "v2", "kind": "Thing"},
            ],
        },
        "io.x.Spec": {
            "type": "object",
            "properties": {
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    }}});
    let files = files(&document);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["v2-v2-thing.json", "x.io-v1-thing.json"]);
    let file = &files["x.io-v1-thing.json"];
    assert_eq!(file["$ref"], "#/components/schemas/io.x.Thing");
    let schemas = &file["components"]["schemas"];
    assert_eq!(schemas["io.x.Thing"]["additionalProperties"], false);
    assert_eq!(schemas["io.x.Spec"]["additionalProperties"], false);
    let properties = &schemas["io.x.Thing"]["properties"];
    assert_eq!(properties["properties"], json!({"type": ["string", "null"], "enum": ["a", null]}));
    assert!(properties["free"]["additionalProperties"].is_null());
    assert_eq!(
        schemas["io.x.Spec"]["properties"]["labels"],
        json!({"type": "object", "additionalProperties": {"type": "string"}})
    );
}
