//! What a source is worth: is its manifest right, and what do replicas run of it. Pure.

use segment_source_crds::{
    Compiled, Problem, SegmentSource, compile as compile_manifest,
    status::reason::{INVALID, UNREADABLE},
};

use crate::{dereference::Values, watch::Unreadable};

/// The longest text that goes into a status or to a replica.
const LONGEST: usize = 1000;

/// Why a manifest is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// A reason of the condition `Accepted`.
    pub(crate) reason: &'static str,
    /// For the person who wrote it.
    pub(crate) message: String,
}

impl Rejection {
    /// It has mistakes.
    fn invalid(problems: &[Problem]) -> Self {
        Self { reason: INVALID, message: sentence(problems) }
    }

    /// It is none, or not one of ours.
    pub(crate) fn unreadable(error: &Unreadable) -> Self {
        if let Unreadable::Newer(_) = error {
            let message = format!(
                "the manifest needs a newer operator: {error}; finish the upgrade of the release, or \
                 take out of the manifest what is new"
            );
            return Self { reason: UNREADABLE, message: bounded(message) };
        }
        let message = format!(
            "what is stored is no SegmentSource that this operator can read: {error}; put it \
             right with `kubectl replace -f FILE`, which takes what applying refuses to merge"
        );
        Self { reason: UNREADABLE, message: bounded(message) }
    }
}

/// Whether the manifest is right; the values of secrets make no difference to that.
///
/// # Errors
/// With all that is wrong.
pub(crate) fn check(source: &SegmentSource) -> Result<(), Rejection> {
    compile_manifest(source, &|_, _| None).map(drop).map_err(|it| Rejection::invalid(&it))
}

/// What replicas run of it.
///
/// # Errors
/// With all that is wrong.
pub(crate) fn compile(source: &SegmentSource, values: &Values) -> Result<Compiled, Rejection> {
    let found = compile_manifest(source, &|secret, key| values.get(secret, key));
    found.map_err(|problems| Rejection::invalid(&problems))
}

/// Problems in one text, which is not too long.
pub(crate) fn sentence(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    bounded(problems.join("; "))
}

/// Cuts what is too long.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > LONGEST {
        let mut end = LONGEST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
