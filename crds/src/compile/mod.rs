//! From a manifest and the values of its secrets to the configuration replicas run on. Pure: the
//! same input always gives the same output. All mistakes are collected, each with its field.

mod access;
mod destinations;
pub(crate) mod duration;
mod mappings;
mod processing;
mod quantity;
mod redaction;
#[cfg(test)]
mod tests;
mod verification;

use std::collections::HashMap;

use segment_source_core::{path::Path, source::is_label};
use segment_source_proto::config::v1::{self as wire, destination::Kind};

use crate::{Problem, SecretRef, SegmentSource, manifest::NOT_A_LABEL};

/// The newest feature level of configuration this compiler writes.
pub const SCHEMA_LEVEL: u32 = 3;

/// The feature level from which on replicas know `access`.
const LEVEL_OF_ACCESS: u32 = 2;

/// The feature level from which on replicas deliver by themselves: destinations other than queues,
/// `delivery`, and `age` and `size` of `retention`.
const LEVEL_OF_DELIVERY: u32 = 3;

/// The queue that exists without being defined. Workflow actions without a destination go there.
pub const DEFAULT_DESTINATION: &str = "default";

/// The directory that exists without being defined. All other actions without a destination go
/// there.
pub const DIRECTORY_DESTINATION: &str = "directory";

/// The value of a key of a Secret in the source's namespace: name, key. `None` while either is
/// missing.
pub type LookUp<'a> = dyn Fn(&str, &str) -> Option<Vec<u8>> + 'a;

/// A manifest without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What replicas run on.
    pub source: wire::Source,
    /// Secrets that are not there yet, or are empty. No mistake of the manifest: until they are
    /// there, the source answers 503 where it needs them, and the actions of a destination wait.
    pub unresolved: Vec<Problem>,
    /// What works, but is probably not what was meant.
    pub warnings: Vec<Problem>,
}

/// Compiles one source, which fits the schema: the reader, or the API server, has seen to that.
///
/// # Errors
/// Everything that is wrong with the manifest; then nothing of it may be used.
pub fn compile(source: &SegmentSource, secrets: &LookUp<'_>) -> Result<Compiled, Vec<Problem>> {
    let mut compiler = Compiler::new(secrets);
    let namespace = source.metadata.namespace.as_deref().unwrap_or("default");
    let name = source.metadata.name.as_deref().unwrap_or_default();
    compiler.label("metadata.namespace", namespace);
    compiler.label("metadata.name", name);

    let verification = compiler.verification(&source.spec);
    let processing = compiler.processing(&source.spec);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    let mut source = wire::Source {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        generation: source.metadata.generation.unwrap_or(0),
        schema_level: 0,
        verification: Some(verification),
        processing: Some(processing),
    };
    source.schema_level = schema_level(&source);
    Ok(Compiled { source, unresolved: compiler.unresolved, warnings: compiler.warnings })
}

/// The lowest feature level that has everything which is used in the parts that are there: older
/// replicas go on serving what they understand, and are asked for nothing that is not theirs.
#[must_use]
pub fn schema_level(source: &wire::Source) -> u32 {
    let Some(processing) = &source.processing else { return 1 };
    let pushes = |it: &wire::Destination| !matches!(it.kind, Some(Kind::Queue(_)));
    if processing.delivery.is_some()
        || processing.retention.is_some()
        || processing.destinations.iter().any(pushes)
    {
        LEVEL_OF_DELIVERY
    } else if processing.access.is_empty() {
        1
    } else {
        LEVEL_OF_ACCESS
    }
}

/// What is found on the way through a manifest.
struct Compiler<'a> {
    secrets: &'a LookUp<'a>,
    problems: Vec<Problem>,
    unresolved: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Which field reads which part of an event.
    reads: Vec<(String, Path)>,
}

impl<'a> Compiler<'a> {
    fn new(secrets: &'a LookUp<'a>) -> Self {
        Self {
            secrets,
            problems: Vec::new(),
            unresolved: Vec::new(),
            warnings: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    fn label(&mut self, field: &str, name: &str) {
        if !is_label(name) {
            self.problem(field, NOT_A_LABEL);
        }
    }

    /// Names of one list, which are unique.
    fn unique<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut first = HashMap::new();
        for (at, name) in names.enumerate() {
            if let Some(before) = first.get(name) {
                self.problem(
                    format!("{list}[{at}].name"),
                    format!("`{name}` is already the name of {list}[{before}]; rename one of them"),
                );
            } else {
                first.insert(name, at);
            }
        }
    }

    /// A path, noted as read by its field.
    fn path(&mut self, field: &str, text: &str) -> Option<Path> {
        match Path::parse(text) {
            Ok(path) => {
                self.reads.push((field.to_owned(), path.clone()));
                Some(path)
            }
            Err(error) => {
                self.problem(field, error.to_string());
                None
            }
        }
    }

    fn warn(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem::new(field, message));
    }

    fn unresolved(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.unresolved.push(Problem::new(field, message));
    }

    /// The bytes of a secret, exactly as they are.
    fn secret(&mut self, field: &str, reference: &SecretRef) -> Option<Vec<u8>> {
        let value = self.look_up(field, reference)?;
        if value.ends_with(b"\n") {
            let SecretRef { name, key } = reference;
            let message = format!(
                "the value of key `{key}` of Secret `{name}` ends in a line break, which counts as \
                 a part of it; if the secret has none, write it without (`echo -n`)"
            );
            self.warn(field, message);
        }
        Some(value)
    }

    /// The value of a key, unless it is missing or empty, which is noted.
    fn look_up(&mut self, field: &str, SecretRef { name, key }: &SecretRef) -> Option<Vec<u8>> {
        let what = match (self.secrets)(name, key) {
            None => "is not there; create it",
            Some(value) if value.is_empty() => "is empty; set its value",
            Some(value) => return Some(value),
        };
        self.unresolved(field, format!("key `{key}` of Secret `{name}` {what}"));
        None
    }
}
