//! One file: its documents, and what it lays claim to while it cannot be read.

use std::collections::BTreeSet;

use segment_source_core::source::short_hash;
use segment_source_crds::{Document, Reader, Subject};

use crate::config::{Finding, files::Content};

/// What is known of one file.
#[derive(Default)]
pub(super) struct FileState {
    digest: Option<[u8; 8]>,
    /// Those that could be read; none while the file as a whole cannot be.
    pub(super) documents: Vec<Document>,
    /// What the file defines; as long as it cannot be read wholly, also what it defined before.
    pub(super) claims: BTreeSet<Subject>,
    /// Whether it was ever read wholly. Before that, anything might be defined in it.
    pub(super) ever_whole: bool,
    /// What is wrong with the file itself.
    pub(super) finding: Option<Finding>,
}

impl FileState {
    /// Takes in the file's content.
    pub(super) fn update(&mut self, name: &str, content: Content, reader: &Reader) {
        let text = match content {
            Ok(text) => text,
            Err(message) => {
                self.digest = None;
                return self.unreadable(name, message);
            }
        };
        let digest = Some(short_hash(text.as_bytes()));
        if self.digest == digest {
            return;
        }
        self.digest = digest;
        match reader.read(&text) {
            Err(error) => self.unreadable(name, format!("is not YAML or JSON: {error}")),
            Ok(documents) => {
                let defined = documents.iter().filter_map(|it| it.subject.clone()).collect();
                // A document that is about nobody knows what may be about any of the old subjects.
                let whole = documents.iter().all(|it| it.content.is_ok() || it.subject.is_some());
                if whole {
                    self.claims = defined;
                } else {
                    self.claims.extend(defined);
                }
                self.ever_whole |= whole;
                self.documents = documents;
                self.finding = None;
            }
        }
    }

    fn unreadable(&mut self, name: &str, message: String) {
        let consequence =
            if self.claims.is_empty() { None } else { Some("what it said last stays in use") };
        self.documents.clear();
        self.finding = Some(Finding { consequence, ..Finding::of_file(name, message) });
    }
}
