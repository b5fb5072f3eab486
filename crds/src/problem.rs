//! What is wrong with a manifest, in words for the person who wrote it.

use std::fmt;

/// One mistake: where it is, and what to do about it. Never holds a secret value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// Path of the field, such as `spec.mappings[2].when`; empty when it is about the whole
    /// document.
    pub field: String,
    /// One sentence or two.
    pub message: String,
}

impl Problem {
    /// A problem with the field at that path.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}
