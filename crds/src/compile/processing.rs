//! The ingest's part of the configuration: everything but the mappings themselves.

use segment_source_core::{expression::Expression, path::Path};
use segment_source_proto::config::v1::{self as wire, destination::Kind};

use super::{Compiler, DEFAULT_DESTINATION};
use crate::{
    ActionName, Destination, IdempotencyMode, Problem, SegmentSourceSpec, Suspend,
    action::snake_case, pattern::NO_IDENTIFIER, schema::list,
};

/// What elements that no signature covers may not cause, unless the manifest says otherwise.
const DENY_UNCOVERED: [ActionName; 3] =
    [ActionName::UsersDelete, ActionName::ObjectsDelete, ActionName::TenantsDelete];

impl Compiler<'_> {
    pub(super) fn refuse_what_is_not_available(&mut self, spec: &SegmentSourceSpec) {
        let retention = spec.retention.as_ref();
        for (field, given) in [
            ("spec.delivery", spec.delivery.is_some()),
            ("spec.retention.age", retention.is_some_and(|it| it.age.is_some())),
            ("spec.retention.size", retention.is_some_and(|it| it.size.is_some())),
        ] {
            if given {
                self.problem(field, "is not available in this version; remove it");
            }
        }
    }

    pub(super) fn processing(&mut self, spec: &SegmentSourceSpec) -> wire::Processing {
        let preprocess = self.preprocess(spec);
        let event_type_path = spec.event_type_path.as_deref();
        match event_type_path {
            Some(text) => self.event_path("spec.eventTypePath", text, spec),
            None => self.default_reads("the event type", &["body.type", "body.event"]),
        }
        let timestamp_path = spec.timestamp_path.as_deref().unwrap_or("body.timestamp");
        self.event_path("spec.timestampPath", timestamp_path, spec);
        let idempotency = self.idempotency(spec);
        let destinations = self.destinations(spec);
        let mappings = self.mappings(spec);
        let redact = self.redaction(spec);
        let batches = spec.verification.batches.as_ref();
        let deny = batches.and_then(|batches| batches.deny_uncovered.as_deref());
        wire::Processing {
            event_type_path: event_type_path.map(str::to_owned),
            timestamp_path: Some(timestamp_path.to_owned()),
            preprocess,
            idempotency: Some(idempotency),
            mappings,
            destinations,
            redact,
            deny_uncovered: deny.unwrap_or(&DENY_UNCOVERED).iter().map(wire_name).collect(),
            delivery_suspended: spec.suspend == Some(Suspend::Delivery),
            access: self.access(spec),
            delivery: None,
            retention: None,
        }
    }

    /// A path of the event's description.
    fn event_path(&mut self, field: &str, text: &str, spec: &SegmentSourceSpec) {
        if let Some(path) = self.path(field, text) {
            self.only_defined(field, &[path], &defined(spec));
        }
    }

    fn default_reads(&mut self, reader: &str, paths: &[&str]) {
        for path in paths {
            self.reads.extend(Path::parse(path).ok().map(|path| (reader.to_owned(), path)));
        }
    }

    fn preprocess(&mut self, spec: &SegmentSourceSpec) -> Vec<wire::Preprocess> {
        let names = defined(spec);
        self.unique("spec.preprocess", names.iter().copied());
        let mut out = Vec::new();
        for (at, one) in spec.preprocess.iter().enumerate() {
            let field = format!("spec.preprocess[{at}]");
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if !one.name.bytes().all(word) || one.name.starts_with(|c: char| c.is_ascii_digit()) {
                self.problem(format!("{field}.name"), NO_IDENTIFIER);
            }
            self.expression(&format!("{field}.expression"), &one.expression, &names[..at]);
            let (name, expression) = (one.name.clone(), one.expression.clone());
            out.push(wire::Preprocess { name, expression });
        }
        out
    }

    /// CEL, with everything it reads noted. `preprocess` are the names it may read.
    pub(super) fn expression(
        &mut self,
        field: &str,
        text: &str,
        preprocess: &[&str],
    ) -> Option<Expression> {
        match Expression::compile(text) {
            Ok(expression) => {
                let reads = expression.reads();
                self.only_defined(field, &reads, preprocess);
                self.reads.extend(reads.into_iter().map(|path| (field.to_owned(), path)));
                Some(expression)
            }
            Err(error) => {
                self.problem(field, error.to_string());
                None
            }
        }
    }

    /// Reports a read of a `preprocess` value that is not there.
    pub(super) fn only_defined(&mut self, field: &str, reads: &[Path], preprocess: &[&str]) {
        for path in reads.iter().filter(|path| path.to_string().starts_with("preprocess")) {
            let there = |name: &&str| {
                Path::parse(&format!("preprocess.{name}"))
                    .is_ok_and(|it| it.covers(path) || path.covers(&it))
            };
            if !preprocess.iter().any(there) {
                let defined = match preprocess {
                    [] => String::new(),
                    names => format!("; it defines {}", list(names, "and")),
                };
                let what = "which spec.preprocess does not define before it";
                self.problem(field, format!("reads `{path}`, {what}{defined}"));
            }
        }
    }

    fn idempotency(&mut self, spec: &SegmentSourceSpec) -> wire::Idempotency {
        let idempotency = spec.idempotency.clone().unwrap_or_default();
        let enabled = idempotency.mode != Some(IdempotencyMode::Disabled);
        let key_path = idempotency.key_path.unwrap_or_else(|| "body.messageId".to_owned());
        let noted = self.reads.len();
        self.event_path("spec.idempotency.keyPath", &key_path, spec);
        if !enabled {
            // Nothing reads it then.
            self.reads.truncate(noted);
        }
        let window = idempotency.window.as_deref();
        let window_ms = self.duration("spec.idempotency.window", window, "24h", ["1m", "720h"]);
        wire::Idempotency { enabled, key_path, window_ms }
    }

    fn destinations(&mut self, spec: &SegmentSourceSpec) -> Vec<wire::Destination> {
        self.unique("spec.destinations", spec.destinations.iter().map(|it| it.name.as_str()));
        let mut names = Vec::new();
        for (at, destination) in spec.destinations.iter().enumerate() {
            self.destination(&format!("spec.destinations[{at}]"), destination);
            names.push(destination.name.as_str());
        }
        if !names.contains(&DEFAULT_DESTINATION) {
            names.push(DEFAULT_DESTINATION);
        }
        if let Some(name) = &spec.default_destination {
            self.destination_exists("spec.defaultDestination", name, spec);
        }
        let queue = |name: &str| wire::Destination {
            name: name.to_owned(),
            kind: Some(Kind::Queue(wire::QueueDestination {})),
        };
        names.into_iter().map(queue).collect()
    }

    fn destination(&mut self, field: &str, destination: &Destination) {
        self.label(&format!("{field}.name"), &destination.name);
        let kinds = [
            ("queue", destination.queue.is_some()),
            ("directory", destination.directory.is_some()),
            ("knock", destination.knock.is_some()),
            ("http", destination.http.is_some()),
        ];
        let given: Vec<&str> = kinds.iter().filter(|kind| kind.1).map(|kind| kind.0).collect();
        if given.len() != 1 {
            let found = if given.is_empty() { "none".to_owned() } else { list(&given, "and") };
            let what = "exactly one of queue, directory, knock and http must be given";
            self.problem(field, format!("{what}; found {found}"));
        }
        for kind in given.into_iter().filter(|kind| *kind != "queue") {
            let reason = format!("destination kind `{kind}` is not available in this version");
            self.problems.push(Problem::new(
                format!("{field}.{kind}"),
                format!("{reason}; use `queue: {{}}`"),
            ));
        }
    }

    pub(super) fn destination_exists(&mut self, field: &str, name: &str, spec: &SegmentSourceSpec) {
        let mut names: Vec<&str> = spec.destinations.iter().map(|it| it.name.as_str()).collect();
        if !names.contains(&DEFAULT_DESTINATION) {
            names.push(DEFAULT_DESTINATION);
        }
        if !names.contains(&name) {
            let known = list(&names, "and");
            self.problem(field, format!("no destination is named `{name}`; there are {known}"));
        }
    }
}

/// Names that can be read once preprocessing is done.
pub(super) fn defined(spec: &SegmentSourceSpec) -> Vec<&str> {
    spec.preprocess.iter().map(|it| it.name.as_str()).collect()
}

fn wire_name(name: &ActionName) -> String {
    // A unit variant is written as its name.
    serde_json::to_value(name).ok().and_then(|it| it.as_str().map(snake_case)).unwrap_or_default()
}
