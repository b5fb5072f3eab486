//! What is wrong with a folder of manifests: one list for the log and for `validate`.

use std::{collections::BTreeSet, fmt};

use segment_source_crds::Problem;
use serde::Serialize;
use tracing::{error, info, warn};

/// One thing that is wrong in one file. Never holds a secret value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Name of the file; empty when it is about the folder as a whole.
    pub file: String,
    /// Which document of the file, counted from 1; `None`: the file as a whole.
    pub document: Option<usize>,
    /// What the document is about: `namespace/name`, or `Secret namespace/name`.
    pub subject: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// Where, and what to do.
    #[serde(flatten)]
    pub problem: Problem,
    /// What goes on in spite of it.
    pub consequence: Option<&'static str>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The document, or the file, is not used as it is.
    Error,
    /// It is used, but something is missing or looks wrong.
    Warning,
}

impl Finding {
    /// About a whole file.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            document: None,
            subject: None,
            severity: Severity::Error,
            problem: Problem::new("", message),
            consequence: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.subject, self.document) {
            (Some(subject), _) => write!(f, "{}, {subject}: ", self.file)?,
            (None, Some(number)) => write!(f, "{}, document {number}: ", self.file)?,
            (None, None) if self.file.is_empty() => {}
            (None, None) => write!(f, "{}: ", self.file)?,
        }
        write!(f, "{}", self.problem)?;
        match self.consequence {
            Some(consequence) => write!(f, " ({consequence})"),
            None => Ok(()),
        }
    }
}

/// Logs what is new since the last pass, once, and what is gone.
pub(crate) fn log_changes(before: &[Finding], now: &[Finding]) {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), now.iter().collect());
    for finding in new.difference(&old) {
        match finding.severity {
            Severity::Error => error!("{finding}"),
            Severity::Warning => warn!("{finding}"),
        }
    }
    let gone = old.difference(&new).count();
    if gone > 0 && new.is_empty() {
        info!("the configuration has no problems any more");
    }
}
