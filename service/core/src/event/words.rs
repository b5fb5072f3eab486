//! How messages for people speak of a value they cannot use. Says nothing of its content.

use crate::json::Value;

/// Continues a sentence that began with the name of a place, such as `body.userId`.
pub(crate) fn what_is(value: Option<&Value>) -> &'static str {
    match value {
        None => "is not there",
        Some(Value::Null) => "is null",
        Some(Value::Bool(_)) => "is a boolean",
        Some(Value::Number(_)) => "is a number",
        Some(Value::String(text)) if text.is_empty() => "is an empty string",
        Some(Value::String(_)) => "is a string",
        Some(Value::Array(items)) if items.is_empty() => "is an empty list",
        Some(Value::Array(_)) => "is a list",
        Some(Value::Object(_)) => "is an object",
    }
}
