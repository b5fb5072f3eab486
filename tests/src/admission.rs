//! The cases of `fixtures/admission.yaml`: manifests, and what an API server has to say to each.

use std::fs;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{chart::parse, process::root};

/// One manifest and the answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// What is special about it.
    pub name: String,
    /// Whether it is admitted.
    pub accepted: bool,
    /// A part of what is said when it is not.
    #[serde(default)]
    pub message: String,
    /// The whole manifest, nulls included.
    #[serde(default)]
    pub manifest: Value,
    #[serde(default)]
    patch: Value,
}

/// All cases, each with its whole manifest.
///
/// # Panics
/// When the fixture is not what it should be.
#[must_use]
pub fn cases() -> Vec<Case> {
    let text = |path: &str| fs::read_to_string(root().join(path)).expect("the file is there");
    let small = text("docs/examples/small.yaml");
    let small: Value = serde_saphyr::from_str(&small).expect("the example is YAML");
    let cases = text("tests/fixtures/admission.yaml");
    let mut cases: Vec<Case> = serde_saphyr::from_str(&cases).expect("the fixture is YAML");
    for case in &mut cases {
        if case.manifest.is_null() {
            case.manifest = small.clone();
            merge(&mut case.manifest, &case.patch);
        }
    }
    cases
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
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

/// The examples of the documentation: file name without its ending, and each manifest in it, in
/// their order.
///
/// # Panics
/// When one is not YAML.
#[must_use]
pub fn examples() -> Vec<(String, Value)> {
    let folder = fs::read_dir(root().join("docs/examples")).expect("there are examples");
    let mut examples: Vec<(String, Value)> = folder
        .map(|entry| entry.expect("a folder can be read").path())
        .flat_map(|path| {
            let text = fs::read_to_string(&path).expect("an example is text");
            let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            parse(&text).into_iter().map(move |manifest| (name.clone(), manifest))
        })
        .collect();
    examples.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(examples.len() >= 5, "{} examples", examples.len());
    examples
}
