//! The published vectors, and what must hold for every text.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::Path;
use crate::{
    event::Document,
    json::{self, Value},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    documents: BTreeMap<String, Source>,
    paths: Vec<Vector>,
    errors: Vec<ErrorVector>,
    redactions: Vec<Redaction>,
    covers: Vec<Covers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    body: String,
    #[serde(default)]
    headers: Option<String>,
    #[serde(default)]
    preprocess: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    path: String,
    document: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    missing: bool,
    #[serde(default)]
    normalised: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorVector {
    path: String,
    position: usize,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redaction {
    path: String,
    body: String,
    leaves: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Covers {
    paths: (String, String),
    covers: (bool, bool),
}

fn vectors() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/paths.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn value(text: &str) -> Value {
    json::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn document(source: &Source) -> Document {
    let part = |text: &Option<String>| value(text.as_deref().unwrap_or("{}"));
    Document {
        body: value(&source.body),
        headers: part(&source.headers),
        preprocess: part(&source.preprocess),
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn published_paths_find_what_they_should() {
    let vectors = vectors();
    assert!(vectors.paths.len() + vectors.errors.len() >= 60);
    for vector in vectors.paths {
        assert_eq!(vector.missing, vector.value.is_none(), "{}: value or missing", vector.path);
        let document = document(&vectors.documents[&vector.document]);
        let path = path(&vector.path);
        // By text, so that the text of numbers counts.
        let found = path.resolve(&document).map(|value| value.to_string());
        assert_eq!(found, vector.value, "{} in {}", vector.path, vector.document);
        if let Some(normalised) = vector.normalised {
            assert_eq!(path.to_string(), normalised);
        }
    }
}

#[test]
fn published_errors_name_position_and_expectation() {
    for vector in vectors().errors {
        let error = Path::parse(&vector.path).expect_err(&vector.path);
        assert_eq!(
            (error.position(), error.problem().contains(&vector.error)),
            (vector.position, true),
            "{error}"
        );
    }
}

#[test]
fn published_redactions_leave_what_they_should() {
    for vector in vectors().redactions {
        let before = value(&vector.body);
        let mut body = before.clone();
        let changed = path(&vector.path).remove_from(&mut body);
        assert_eq!(body.to_string(), vector.leaves, "{}", vector.path);
        assert_eq!(changed, body != before, "{}", vector.path);
    }
}

#[test]
fn published_covers_hold_both_ways() {
    for vector in vectors().covers {
        let (one, other) = (path(&vector.paths.0), path(&vector.paths.1));
        let found = (one.covers(&other), other.covers(&one));
        assert_eq!(found, vector.covers, "{one} and {other}");
    }
}

#[test]
fn length_and_steps_are_bounded() {
    let long = "a".repeat(256 - "body.".len());
    assert_eq!(path(&long).to_string().len(), 256);
    assert!(Path::parse(&format!("{long}a")).is_err());
    assert!(Path::parse(&"\u{e9}".repeat(251)).is_ok());
    assert!(Path::parse(&"[0]".repeat(64)).is_ok());
    assert!(Path::parse(&"[0]".repeat(65)).unwrap_err().to_string().contains("64 steps"));
    assert!(Path::parse(&"a".repeat(1_000_000)).unwrap_err().to_string().len() < 500);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,40}") {
        let _ = Path::parse(&text);
    }

    #[test]
    fn the_normalised_text_means_the_same(text in path_like()) {
        if let Ok(path) = Path::parse(&text) {
            prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
        }
    }

    #[test]
    fn what_was_removed_is_no_longer_found(text in path_like(), body in json_like()) {
        if let Ok(path) = Path::parse(&text) && path.is_body() {
            let mut body = body;
            path.remove_from(&mut body);
            let document =
                Document { body, headers: Value::Null, preprocess: Value::Null };
            let left = path.resolve(&document).map(std::borrow::Cow::into_owned);
            let gone = match left {
                None | Some(Value::Null) => true,
                Some(Value::Array(items)) => items.iter().all(Value::is_null),
                Some(_) => false,
            };
            prop_assert!(gone);
        }
    }
}

/// Mostly valid paths.
fn path_like() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        "\\.[ab]",
        "\\[[0-2]\\]",
        "\\[-[1-2]\\]",
        Just("[*]".to_owned()),
        "\\[\"[ab. \\\\\"n]{0,3}\"\\]",
        "\\.\\PC{1,3}",
    ];
    let start = prop_oneof!["[ab]", "body|headers|preprocess", Just("[\"a b\"]".to_owned())];
    (start, prop::collection::vec(step, 0..5)).prop_map(|(start, steps)| start + &steps.concat())
}

fn json_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), Just(Value::Bool(true)), Just(Value::from("x"))];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[ab]", inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
