//! The reader and the compiler refuse what the API server refuses, and read what it admits. The
//! same cases are run against real API servers.

use serde_json::Value;

use crate::{Manifest, Reader, compile};

const SMALL: &str = include_str!("../../docs/examples/small.yaml");
const CASES: &str = include_str!("../../tests/fixtures/admission.yaml");

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn manifest(case: &Value) -> String {
    let manifest = match &case["patch"] {
        Value::Null => case["manifest"].clone(),
        patch => {
            let mut manifest = serde_saphyr::from_str(SMALL).unwrap();
            merge(&mut manifest, patch);
            manifest
        }
    };
    manifest.to_string()
}

#[test]
fn the_reader_and_the_api_server_agree() {
    let cases: Vec<Value> = serde_saphyr::from_str(CASES).unwrap();
    assert!(cases.len() > 100, "{} cases", cases.len());
    let reader = Reader::default();
    for case in &cases {
        let document = reader.read(&manifest(case)).unwrap().remove(0);
        let secrets = |_: &str, _: &str| None;
        match (case["accepted"].as_bool(), document.content) {
            (Some(true), Ok(Manifest::Source(_))) | (Some(false), Err(_)) => {}
            (Some(false), Ok(Manifest::Source(source))) => {
                assert!(compile(&source, &secrets).is_err(), "{case} is not refused");
            }
            (_, content) => panic!("{case}: {content:?}"),
        }
    }
}
