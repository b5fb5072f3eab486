//! The ingest's part of the configuration: everything but mappings and destinations.

use segment_source_core::{expression::Expression, path::Path};
use segment_source_proto::config::v1 as wire;

use super::Compiler;
use crate::{
    ActionName, IdempotencyMode, SegmentSourceSpec, Suspend, action::snake_case,
    pattern::NO_IDENTIFIER, schema::list,
};

/// What elements that no signature covers may not cause, unless the manifest says otherwise.
const DENY_UNCOVERED: [ActionName; 3] =
    [ActionName::UsersDelete, ActionName::ObjectsDelete, ActionName::TenantsDelete];

impl Compiler<'_> {
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
            delivery: self.delivery(spec),
            retention: self.retention(spec),
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

    /// Absent when nothing of it is given, so that replicas of any level can have it.
    fn delivery(&mut self, spec: &SegmentSourceSpec) -> Option<wire::Delivery> {
        let given = spec.delivery.as_ref()?;
        let field = "spec.delivery.maxAge";
        let max_age_ms = (given.max_age.as_deref())
            .map(|text| self.duration(field, Some(text), "20h", ["1m", "168h"]));
        // The schema allows 1 to 1,024.
        let concurrency = given.concurrency.and_then(|it| u32::try_from(it).ok());
        (max_age_ms.is_some() || concurrency.is_some())
            .then_some(wire::Delivery { max_age_ms, concurrency })
    }

    /// Absent when nothing of it is given, as above. What is redacted is told elsewhere.
    fn retention(&mut self, spec: &SegmentSourceSpec) -> Option<wire::Retention> {
        let given = spec.retention.as_ref()?;
        let field = "spec.retention.age";
        let age_ms = (given.age.as_deref())
            .map(|text| self.duration(field, Some(text), "720h", ["1h", "87600h"]));
        let size = given.size.as_deref();
        let size_bytes =
            size.map(|text| self.quantity("spec.retention.size", text, ["1Mi", "1Pi"]));
        (age_ms.is_some() || size_bytes.is_some()).then_some(wire::Retention { age_ms, size_bytes })
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
