//! The recorded requests of Segment's own clients (see the README beside the fixtures), and the
//! answers that are expected to them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{http::Request, process::root};

/// One recorded request.
#[derive(Debug, Deserialize)]
pub struct Capture {
    /// The file's name without its ending.
    pub name: String,
    /// What the sender signed with; `None`: it had no secret.
    #[serde(default)]
    pub secret: Option<String>,
    /// What went over the wire.
    pub request: Recorded,
}

/// What went over the wire.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// POST or PUT.
    pub method: String,
    /// In wire order and case.
    pub headers: Vec<(String, String)>,
    /// The bytes; always UTF-8.
    pub body: String,
}

impl Capture {
    /// The same request, byte for byte, to another path.
    #[must_use]
    pub fn request(&self, target: &str) -> Request {
        let start = Request::bare(&self.request.method, target).body(self.request.body.as_bytes());
        self.request.headers.iter().fold(start, |it, (name, value)| it.header(name, value))
    }
}

/// All webhook captures by name, and apart from them the bodies posted to Segment itself
/// (`sdk-*`).
///
/// # Panics
/// When a fixture cannot be read.
#[must_use]
pub fn captures() -> (BTreeMap<String, Capture>, BTreeMap<String, Capture>) {
    let folder = fixtures().join("segment-captures");
    let files = fs::read_dir(folder).expect("the captures are there");
    let files = files.map(|file| file.expect("a capture can be listed").path());
    let captures = files.filter(|file| file.extension().is_some_and(|ending| ending == "json"));
    captures
        .map(|file| {
            let text = fs::read(&file).expect("a capture can be read");
            let capture: Capture = serde_json::from_slice(&text).expect("a capture is JSON");
            (capture.name.clone(), capture)
        })
        .partition(|(name, _)| !name.starts_with("sdk-"))
}

/// The events of a body posted to Segment itself, each with its own bytes.
///
/// # Panics
/// When the capture is no such body.
#[must_use]
pub fn sdk_events(capture: &Capture) -> Vec<String> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<&'a RawValue>,
    }
    let body: Batch = serde_json::from_str(&capture.request.body).expect("a batch of events");
    body.batch.iter().map(|event| event.get().to_owned()).collect()
}

/// What `expected.yaml` says about one capture under one policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The status code.
    pub status: u16,
    /// The events in the log, in the order of the batch; none unless the status is 202.
    #[serde(default)]
    pub events: Vec<ExpectedEvent>,
}

/// One event of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// Absent: the event is unmappable.
    #[serde(default, rename = "type")]
    pub event_type: String,
    /// The messageId.
    #[serde(default)]
    pub key: String,
    /// The order key.
    #[serde(default)]
    pub order: String,
    /// Whether the signature covers it.
    #[serde(default)]
    pub covered: bool,
    /// What the edge found.
    pub verdict: String,
    /// In the order in which they run.
    #[serde(default)]
    pub actions: Vec<ExpectedAction>,
}

/// One action of an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAction {
    /// The mapping that made it.
    pub mapping: String,
    /// Knock's snake_case name.
    pub action: String,
    /// The payload, compared as JSON.
    #[serde(default)]
    pub payload: Option<String>,
    /// Parts of the payload, byte for byte.
    #[serde(default)]
    pub contains: Vec<String>,
    /// The bounded code of the failure.
    #[serde(default)]
    pub failed: Option<String>,
}

/// The committed table: capture -> policy -> expectation.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn expected() -> BTreeMap<String, BTreeMap<String, Expected>> {
    fixture("expected.yaml")
}

/// The manifest of the captures' source, without its verification.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn capture_spec() -> Value {
    fixture("captures-spec.yaml")
}

/// Reads a YAML file among the fixtures.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn fixture<T: DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(fixtures().join(file)).expect("the fixture can be read");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}
