//! One source: its last good manifest, and what it compiles to with the secrets there are now.

use std::{cell::RefCell, sync::Arc};

use segment_source_crds::{Problem, SegmentSource, compile};
use segment_source_proto::config::v1 as wire;

/// Gives the value of a key of a Secret of the source's namespace.
pub(super) type Secrets<'a> = dyn Fn(&str, &str) -> Option<Vec<u8>> + 'a;

/// A secret that was asked for, by name and key, and what was given.
type Used = ((String, String), Option<Vec<u8>>);

/// A manifest that compiled, and the result.
#[derive(Clone)]
pub(super) struct Good {
    manifest: SegmentSource,
    /// Every secret that was asked for, and its value then.
    pub(super) used: Vec<Used>,
    pub(super) source: Arc<wire::Source>,
    /// What works, but needs attention.
    pub(super) notes: Vec<Problem>,
}

impl Good {
    /// Compiles a manifest; what did not change since `before` is shared with it.
    pub(super) fn compile(
        manifest: &SegmentSource,
        secrets: &Secrets<'_>,
        before: Option<&Good>,
    ) -> Result<Good, Vec<Problem>> {
        if let Some(before) = before
            && before.is_current(manifest, secrets)
        {
            return Ok(before.clone());
        }
        let used = RefCell::new(Vec::new());
        let look_up = |name: &str, key: &str| {
            let value = secrets(name, key);
            used.borrow_mut().push(((name.to_owned(), key.to_owned()), value.clone()));
            value
        };
        let compiled = compile(manifest, &look_up)?;
        let source = match before {
            Some(before) if *before.source == compiled.source => before.source.clone(),
            _ => Arc::new(compiled.source),
        };
        let notes = compiled.unresolved.into_iter().chain(compiled.warnings).collect();
        Ok(Good { manifest: manifest.clone(), used: used.into_inner(), source, notes })
    }

    /// The same manifest with the secrets there are now: a bad edit does not stop a rotation.
    pub(super) fn renewed(&self, secrets: &Secrets<'_>) -> Good {
        // Secrets cannot make a good manifest bad.
        Good::compile(&self.manifest, secrets, Some(self)).unwrap_or_else(|_| self.clone())
    }

    fn is_current(&self, manifest: &SegmentSource, secrets: &Secrets<'_>) -> bool {
        self.manifest == *manifest
            && self.used.iter().all(|((name, key), value)| secrets(name, key) == *value)
    }
}
