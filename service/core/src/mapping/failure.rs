//! Why an action could not be rendered.

/// Why an action could not be rendered: a bounded code for metrics, and words for people. The
/// words name fields, paths and kinds of values, never a value of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One of [`FAILURE_CODES`].
    pub code: &'static str,
    /// Names the field it is about.
    pub message: String,
}

pub(super) const MISSING_FIELD: &str = "missing_field";
pub(super) const WRONG_TYPE: &str = "wrong_type";
pub(super) const EXPRESSION_ERROR: &str = "expression_error";
pub(super) const TOO_MANY_RECIPIENTS: &str = "too_many_recipients";
pub(super) const NOT_COVERED: &str = "not_covered";
pub(super) const TOO_LARGE: &str = "too_large";

/// Every code a [`Failure`] can have, with its meaning.
pub const FAILURE_CODES: [(&str, &str); 6] = [
    (MISSING_FIELD, "the event has no value for a field that must have one"),
    (WRONG_TYPE, "a value is of a kind that its field does not take"),
    (EXPRESSION_ERROR, "the expression of a field has no value for the event"),
    (TOO_MANY_RECIPIENTS, "more than 1,000 recipients or members"),
    (NOT_COVERED, "the action type is denied to events that no signature covers"),
    (TOO_LARGE, "the actions of the event are larger than 32 MiB together"),
];
