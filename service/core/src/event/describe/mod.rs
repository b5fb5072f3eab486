//! What an event says of itself: its document, type, idempotency key, order key and timestamp.
//! Total: every body is described, and what cannot be mapped says why. Verification and splitting
//! of batches are done before, mapping comes after.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use bytes::Bytes;
use indexmap::{IndexMap, map::Entry};

use super::{Document, words::what_is};
use crate::{
    expression::{Expression, Scope},
    json::{self, ReadError, Value},
    path::Path,
};

/// An idempotency key has at least one character (Unicode scalar value) and at most this many.
pub const MAX_KEY_CHARACTERS: usize = 255;

/// How the events of one source are read.
#[derive(Debug)]
pub struct Describer {
    /// Where the event type is. `None`: Segment's naming, `track/<event>` for a track and
    /// otherwise the `type`, both verbatim.
    pub event_type_path: Option<Path>,
    /// Where the timestamp is.
    pub timestamp_path: Path,
    /// Where the idempotency key is. `None`: deduplication is off.
    pub key_path: Option<Path>,
    /// Computed values, by name; each sees the ones before it.
    pub preprocess: Vec<(String, Expression)>,
    /// What is taken out of the body before anything else looks at it.
    pub redact: Vec<Path>,
}

/// What a [`Describer`] makes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What mappings look into. `None` when the body is not a JSON object.
    pub document: Option<Document>,
    /// `None` when the event is unmappable. Of any length.
    pub event_type: Option<String>,
    /// The idempotency key, 1 to [`MAX_KEY_CHARACTERS`] characters.
    pub key: Option<String>,
    /// `user:<userId>` or else `anonymous:<anonymousId>`; `None` without both. Verbatim, of any
    /// length; a number counts by its text.
    pub order_key: Option<String>,
    /// The text at the timestamp path, never interpreted.
    pub timestamp: Option<String>,
    /// Why nothing can be mapped, in words; set exactly when `event_type` is not.
    pub unmappable: Option<String>,
    /// What went wrong on the way without stopping anything: subject (the preprocess name,
    /// `idempotency` or `redact`) and message.
    pub notes: Vec<(String, String)>,
    /// What may be stored: the bytes as received, or when paths are redacted the JSON written
    /// anew; empty when they are and the bytes are not JSON.
    pub body: Bytes,
}

impl Describer {
    /// Describes an event by its raw bytes and the headers of its request (names in any case).
    #[must_use]
    pub fn describe(&self, body: &Bytes, headers: &[(String, String)]) -> Described {
        self.read(json::read(body), body, headers, true)
    }

    /// Like [`Describer::describe`], without the document, and without computing what only
    /// mappings need: the same type, key, order key, timestamp, verdict and body for less work.
    /// Notes of `preprocess` are there only when one of the paths looks outside the body.
    #[must_use]
    pub fn describe_briefly(&self, body: &Bytes, headers: &[(String, String)]) -> Described {
        let optional = self.event_type_path.iter().chain(&self.key_path);
        let mut paths = optional.chain([&self.timestamp_path]);
        let beyond_body = paths.clone().any(|path| !path.is_body());
        // Reading a whole event allocates for each of its values; most sources need six.
        let mut wanted = vec!["type", "event", "userId", "anonymousId"];
        let few = self.redact.is_empty()
            && !beyond_body
            && paths.all(|path| path.member().map(|member| wanted.push(member)).is_some());
        let value = if few { json::read_members(body, &wanted) } else { json::read(body) };
        Described { document: None, ..self.read(value, body, headers, beyond_body) }
    }

    fn read(
        &self,
        value: Result<Value, ReadError>,
        raw: &Bytes,
        headers: &[(String, String)],
        beyond_body: bool,
    ) -> Described {
        let mut value = match value {
            Ok(value) => value,
            Err(_) if raw.is_empty() => return self.unreadable(raw, "the body is empty".into()),
            Err(error) => return self.unreadable(raw, format!("the body is {error}")),
        };
        let body = self.redact(&mut value, raw);
        if !matches!(value, Value::Object(_)) {
            let reason = format!("the body is {}, expected an object", value.kind());
            return Described::unmappable(reason, body);
        }
        let mut document = Document {
            body: value,
            headers: Value::Object(IndexMap::new()),
            preprocess: Value::Object(IndexMap::new()),
        };
        let mut notes = Vec::new();
        if beyond_body {
            document.headers = headers_value(headers);
            self.compute(&mut document, &mut notes);
        }
        let (event_type, unmappable) = match self.event_type(&document) {
            Ok(event_type) => (Some(event_type), None),
            Err(reason) => (None, Some(reason)),
        };
        Described {
            event_type,
            key: self.key(&document, &mut notes),
            order_key: order_key(&document.body),
            timestamp: self.timestamp(&document),
            unmappable,
            notes,
            body,
            document: Some(document),
        }
    }

    /// What is not JSON cannot be redacted, so it is not kept when something is to be redacted.
    fn unreadable(&self, raw: &Bytes, reason: String) -> Described {
        if self.redact.is_empty() || raw.is_empty() {
            return Described::unmappable(reason, raw.clone());
        }
        let dropped = format!(
            "the {} bytes of the body were not kept: they cannot be read, so nothing could be \
             redacted from them",
            raw.len()
        );
        let notes = vec![("redact".to_owned(), dropped)];
        Described { notes, ..Described::unmappable(reason, Bytes::new()) }
    }

    /// Takes out what is to be redacted and gives the bytes that may be stored.
    fn redact(&self, value: &mut Value, raw: &Bytes) -> Bytes {
        if self.redact.is_empty() {
            return raw.clone();
        }
        for path in &self.redact {
            path.remove_from(value);
        }
        // Written anew even when nothing was found: of two equal keys only the last is read, so
        // the raw bytes can hold a value that no path reaches.
        let mut rewritten = String::with_capacity(raw.len());
        // Writing to a string cannot fail.
        let _ = write!(rewritten, "{value}");
        rewritten.into()
    }

    fn compute(&self, document: &mut Document, notes: &mut Vec<(String, String)>) {
        for (name, expression) in &self.preprocess {
            let computed = expression.evaluate(&Scope::new(document));
            match (computed, &mut document.preprocess) {
                (Ok(value), Value::Object(map)) => {
                    map.insert(name.clone(), value);
                }
                (Ok(_), _) => {}
                (Err(error), _) => notes.push((name.clone(), format!("not set: {error}"))),
            }
        }
    }

    fn event_type(&self, document: &Document) -> Result<String, String> {
        let Some(path) = &self.event_type_path else { return segment_type(&document.body) };
        let found = path.resolve(document);
        match found.as_deref() {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            other => Err(format!("the event type: {path} {}, {EXPECTED_TEXT}", what_is(other))),
        }
    }

    fn key(&self, document: &Document, notes: &mut Vec<(String, String)>) -> Option<String> {
        let path = self.key_path.as_ref()?;
        let found = path.resolve(document)?;
        let problem = match &*found {
            Value::Null => return None,
            Value::String(text) if is_key(text) => return Some(found.as_str()?.to_owned()),
            Value::String(text) if !text.is_empty() => "is too long",
            other => what_is(Some(other)),
        };
        notes.push((
            "idempotency".to_owned(),
            format!(
                "not deduplicated: {path} {problem}, expected a string of 1 to \
                 {MAX_KEY_CHARACTERS} characters"
            ),
        ));
        None
    }

    fn timestamp(&self, document: &Document) -> Option<String> {
        self.timestamp_path.resolve(document).as_deref().and_then(text).map(str::to_owned)
    }
}

impl Described {
    fn unmappable(reason: String, body: Bytes) -> Self {
        Self {
            document: None,
            event_type: None,
            key: None,
            order_key: None,
            timestamp: None,
            unmappable: Some(reason),
            notes: Vec::new(),
            body,
        }
    }
}

const EXPECTED_TEXT: &str = "expected a string that is not empty";

/// Segment's naming.
fn segment_type(body: &Value) -> Result<String, String> {
    let name = |field| match body.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        other => Err(what_is(other)),
    };
    match name("type") {
        Ok("track") => name("event")
            .map(|event| ["track/", event].concat())
            .map_err(|what| format!("a track whose `event` {what}, {EXPECTED_TEXT}")),
        Ok(other) => Ok(other.to_owned()),
        Err(what) => Err(format!("the event type: `type` {what}, {EXPECTED_TEXT}")),
    }
}

fn is_key(text: &str) -> bool {
    // A string has at most as many characters as bytes, so most are not counted.
    !text.is_empty()
        && (text.len() <= MAX_KEY_CHARACTERS || text.chars().count() <= MAX_KEY_CHARACTERS)
}

fn order_key(body: &Value) -> Option<String> {
    let id = |field| body.get(field).and_then(text);
    match id("userId") {
        Some(user) => Some(["user:", user].concat()),
        None => id("anonymousId").map(|anonymous| ["anonymous:", anonymous].concat()),
    }
}

/// A string that is not empty, or a number by its literal text.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(text) => Some(text),
        _ => None,
    }
}

/// The object that paths and expressions see: lower-case names, repeated headers joined by `, `.
fn headers_value(headers: &[(String, String)]) -> Value {
    let mut map: IndexMap<String, Value> = IndexMap::with_capacity(headers.len());
    for (name, value) in headers {
        match map.entry(name.to_ascii_lowercase()) {
            Entry::Vacant(entry) => {
                entry.insert(Value::String(value.clone()));
            }
            Entry::Occupied(mut entry) => {
                if let Value::String(joined) = entry.get_mut() {
                    joined.push_str(", ");
                    joined.push_str(value);
                }
            }
        }
    }
    Value::Object(map)
}
