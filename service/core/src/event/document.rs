//! What paths and expressions look into.

use crate::json::Value;

/// The three namespaces of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The event itself.
    pub body: Value,
    /// An object of strings; names in lower case, repeated headers joined by `, `.
    pub headers: Value,
    /// An object: the values `preprocess` computed, by name.
    pub preprocess: Value,
}
