//! Which values are removed before anything is stored, and that nothing reads just them.

use segment_source_core::path::Path;

use super::Compiler;
use crate::SegmentSourceSpec;

impl Compiler<'_> {
    /// The paths to remove. Everything that reads the event must be noted before.
    pub(super) fn redaction(&mut self, spec: &SegmentSourceSpec) -> Vec<String> {
        let texts = spec.retention.as_ref().map_or(&[][..], |retention| &retention.redact);
        let mut redact = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let field = format!("spec.retention.redact[{at}]");
            match Path::parse(text) {
                Err(error) => self.problem(&field, error.to_string()),
                Ok(path) if !path.is_body() => {
                    self.problem(
                        &field,
                        "must be a path inside the body; headers with credentials are never stored",
                    );
                }
                Ok(path) => {
                    if let Some(message) = self.reader_of(&path) {
                        self.problem(&field, message);
                    }
                    redact.push(path.to_string());
                }
            }
        }
        redact
    }

    /// What would find nothing once `path` is removed. Reading what holds it, such as all of
    /// `properties`, is fine: what is handed on then lacks the value, as redaction is meant to.
    fn reader_of(&self, path: &Path) -> Option<String> {
        let own = [
            ("the order of a user's events", "body.userId"),
            ("the order of a user's events", "body.anonymousId"),
        ];
        let own = own.into_iter().filter_map(|(why, text)| Some((why, Path::parse(text).ok()?)));
        let own = own.map(|(why, path)| (why.to_owned(), path));
        let (reader, read) =
            self.reads.iter().cloned().chain(own).find(|(_, read)| path.covers(read))?;
        let advice = "a removed value cannot be read; redact something else or change the reader";
        Some(format!("removes `{path}`, but {reader} reads `{read}`; {advice}"))
    }
}
