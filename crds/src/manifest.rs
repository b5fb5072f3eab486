//! Reads YAML or JSON text with any number of documents into SegmentSource and Secret manifests.
//! What the values mean together is `compile`'s.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::ByteString;
use segment_source_core::source::SourceId;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::{
    Problem, SegmentSource,
    schema::{Schema, child, list},
};

const API_VERSION: &str = "segment-source.dev/v1alpha1";
const KIND: &str = "SegmentSource";

/// Reads manifests; keeps the schema, so that it is made once.
pub struct Reader {
    schema: Schema,
}

/// Text that is neither YAML nor JSON. Holds nothing of the text but names of keys and anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// Counted from 1; 0 when unknown.
    pub line: u64,
    /// Counted from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong there.
    pub message: String,
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Counted from 1; empty documents do not count.
    pub number: usize,
    /// What it is about, as far as that can be read; also when the rest is wrong. `None` for what
    /// is ignored, and for a document that could be about anything.
    pub subject: Option<Subject>,
    /// What it says, or everything that is wrong with it by itself.
    pub content: Result<Manifest, Vec<Problem>>,
    /// Of a source with mistakes: what is left when they are taken out, if that is anything. Only
    /// good for finding the mistakes that compiling finds.
    pub remains: Option<Box<SegmentSource>>,
}

/// What a document defines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A source.
    Source(SourceId),
    /// A Secret.
    Secret {
        /// `default` when the manifest names none.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(id) => write!(f, "{id}"),
            Self::Secret { namespace, name } => write!(f, "Secret {namespace}/{name}"),
        }
    }
}

/// A document that can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// Fits the schema; not compiled yet.
    Source(Box<SegmentSource>),
    /// Values for secret references.
    Secret(Secret),
    /// Something else, which is nobody's mistake.
    Ignored {
        /// Its kind.
        kind: String,
    },
}

/// A Secret manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// `default` when the manifest names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `data`, decoded, and `stringData`, which wins.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}/{}, redacted)", self.namespace, self.name)
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self { schema: Schema::of_spec() }
    }
}

impl Reader {
    /// Reads every document of `text`, in its order. A document with mistakes does not keep the others from
    /// being read.
    ///
    /// # Errors
    /// When the text is not YAML (of which JSON is a part); then no document can be read.
    pub fn read(&self, text: &str) -> Result<Vec<Document>, SyntaxError> {
        let documents = values(text)?;
        Ok((1..).zip(documents).map(|(number, value)| self.document(number, value)).collect())
    }

    fn document(&self, number: usize, value: Value) -> Document {
        let mut problems = Vec::new();
        let Value::Object(mut fields) = value else {
            let problem = Problem::new("", "is not a manifest; it must be an object");
            return Document { number, subject: None, content: Err(vec![problem]), remains: None };
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        let mut subject = None;
        let content = match kind.as_str() {
            KIND => {
                subject = identity(&fields, &mut problems).map(Subject::Source);
                expect_version(&api_version, API_VERSION, &mut problems);
                self.source(fields, &mut problems).map(|it| Manifest::Source(Box::new(it)))
            }
            "Secret" => {
                expect_version(&api_version, "v1", &mut problems);
                let read = secret(&mut fields, &mut problems);
                subject = read.as_ref().map(|it| Subject::Secret {
                    namespace: it.namespace.clone(),
                    name: it.name.clone(),
                });
                read.map(Manifest::Secret)
            }
            "" => {
                problems
                    .push(Problem::new("kind", format!("is missing; use `{KIND}` or `Secret`")));
                None
            }
            _ if api_version.starts_with("segment-source.dev/") => {
                problems.push(Problem::new("kind", format!("is not known; use `{KIND}`")));
                None
            }
            _ => Some(Manifest::Ignored { kind }),
        };
        if problems.is_empty()
            && let Some(content) = content
        {
            return Document { number, subject, content: Ok(content), remains: None };
        }
        let remains = match content {
            Some(Manifest::Source(source)) => Some(source),
            _ => None,
        };
        Document { number, subject, content: Err(problems), remains }
    }

    fn source(
        &self,
        mut fields: Map<String, Value>,
        problems: &mut Vec<Problem>,
    ) -> Option<SegmentSource> {
        // What `kubectl get -o yaml` adds.
        fields.remove("status");
        unknown_fields(&fields, &["apiVersion", "kind", "metadata", "spec"], "", problems);
        match fields.get_mut("spec") {
            Some(spec) => self.schema.check(spec, problems),
            None => problems.push(Problem::new("spec", "is missing")),
        }
        let found = problems.len();
        // The type has no place for these two.
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let value = Value::Object(fields);
        let read =
            serde_path_to_error::deserialize(serde_ignored::Deserializer::new(&value, &mut note));
        // Of the rest, the schema has said all; of the top level, we have.
        unknown.retain(|path| path.starts_with("metadata."));
        problems.extend(unknown.into_iter().map(|path| Problem::new(path, "unknown field")));
        match read {
            Ok(source) => Some(source),
            // What was found before does not fit the type either.
            Err(_) if found > 0 => None,
            Err(error) => {
                let field = error.path().to_string();
                problems.push(Problem::new(field, error.into_inner().to_string()));
                None
            }
        }
    }
}

/// `metadata.namespace` and `metadata.name`, when they name a source.
fn identity(fields: &Map<String, Value>, problems: &mut Vec<Problem>) -> Option<SourceId> {
    let metadata = fields.get("metadata");
    let read = |name: &str| metadata.and_then(|it| it.get(name)).filter(|it| !it.is_null());
    let Some(name) = read("name") else {
        problems.push(Problem::new("metadata.name", "is missing"));
        return None;
    };
    let namespace = read("namespace").map_or(Some("default"), Value::as_str);
    let mut label = |field: &str, text: Option<&str>| {
        let valid = text.is_some_and(segment_source_core::source::is_label);
        if !valid {
            problems.push(Problem::new(field, NOT_A_LABEL));
        }
        valid
    };
    let valid = [label("metadata.name", name.as_str()), label("metadata.namespace", namespace)];
    match (valid, namespace, name.as_str()) {
        ([true, true], Some(namespace), Some(name)) => SourceId::new(namespace, name).ok(),
        _ => None,
    }
}

/// What is wrong with a name.
pub(crate) const NOT_A_LABEL: &str = "must be 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit";

fn expect_version(found: &str, expected: &str, problems: &mut Vec<Problem>) {
    if found != expected {
        let message = match found {
            "" => format!("is missing; use `{expected}`"),
            _ => format!("`{found}` is not known; use `{expected}`"),
        };
        problems.push(Problem::new("apiVersion", message));
    }
}

fn unknown_fields(
    fields: &Map<String, Value>,
    known: &[&str],
    parent: &str,
    problems: &mut Vec<Problem>,
) {
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("unknown field; known here: {}", list(known, "and"));
        problems.push(Problem::new(child(parent, name), message));
    }
}

/// Read by hand, because the messages of a deserialiser repeat values.
fn secret(fields: &mut Map<String, Value>, problems: &mut Vec<Problem>) -> Option<Secret> {
    const KNOWN: [&str; 7] =
        ["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];
    unknown_fields(fields, &KNOWN, "", problems);
    let metadata = fields.get("metadata");
    let text = |name: &str| metadata.and_then(|it| it.get(name)).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or("default").to_owned();
    let Some(name) = text("name").map(str::to_owned) else {
        problems.push(Problem::new("metadata.name", "is missing"));
        return None;
    };
    let mut data = BTreeMap::new();
    for (part, decode) in [("data", true), ("stringData", false)] {
        match fields.remove(part) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (key, value) in entries {
                    match secret_value(value, decode) {
                        Ok(bytes) => drop(data.insert(key, bytes)),
                        Err(message) => problems.push(Problem::new(child(part, &key), message)),
                    }
                }
            }
            Some(_) => problems.push(Problem::new(part, "must be an object of strings")),
        }
    }
    Some(Secret { namespace, name, data })
}

fn secret_value(value: Value, decode: bool) -> Result<Vec<u8>, &'static str> {
    let Value::String(text) = value else {
        return Err("must be a string; put it in quotes");
    };
    if !decode {
        return Ok(text.into_bytes());
    }
    // YAML block scalars of long values end in a line break, which is no Base64.
    let text = text.split_ascii_whitespace().collect::<String>();
    match ByteString::deserialize(Value::String(text)) {
        Ok(ByteString(bytes)) => Ok(bytes),
        Err(_) => Err("is not Base64; use `stringData` for plain text"),
    }
}

/// All documents that are not empty.
fn values(text: &str) -> Result<Vec<Value>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        // JSON proper first: YAML does not take tabs everywhere.
        let json: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(values) = json {
            return Ok(values);
        }
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let location = error.location();
        let line = location.map_or(0, |at| at.line());
        let column = location.map_or(0, |at| at.column());
        let error = error.without_snippet();
        // The default messages advise programmers, and quote values.
        let rendered = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let place = format!(" at line {line}, column {column}");
        let mut message = rendered.strip_suffix(&place).unwrap_or(&rendered).to_owned();
        if matches!(error, serde_saphyr::Error::DuplicateMappingKey { .. }) && column == 1 {
            message.push_str("; a line `---` begins another document");
        }
        SyntaxError { line, column, message }
    })
}

#[cfg(test)]
mod tests;
