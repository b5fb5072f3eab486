//! Holds a manifest against the schema of the CRD, as the API server would: folder configuration
//! has no API server. All mistakes are found at once, and no value is repeated in a message,
//! because a secret may have been pasted in the wrong place.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Map, Value};

use crate::{Problem, crd, pattern::mismatch};

/// The schema of `spec`.
pub(crate) struct Schema(JSONSchemaProps);

impl Schema {
    /// Generated from the types; costs milliseconds, so keep it.
    pub(crate) fn of_spec() -> Self {
        let versions = crd().spec.versions.into_iter();
        let roots = versions.filter_map(|version| version.schema?.open_api_v3_schema);
        let mut fields = roots.filter_map(|root| root.properties).flatten();
        Self(fields.find(|(name, _)| name == "spec").map(|(_, spec)| spec).unwrap_or_default())
    }

    /// Adds everything that is wrong with `spec` to `problems`, and takes out of `spec` what can be
    /// taken out, so that the rest can still be looked at.
    pub(crate) fn check(&self, spec: &mut Value, problems: &mut Vec<Problem>) {
        value(&self.0, spec, "spec", problems);
    }
}

/// Says whether the value is of the right kind.
fn value(
    schema: &JSONSchemaProps,
    it: &mut Value,
    field: &str,
    problems: &mut Vec<Problem>,
) -> bool {
    if it.is_null() && keeps_null(schema)
        || schema.x_kubernetes_preserve_unknown_fields == Some(true)
    {
        return true;
    }
    let mut report = |message: String| problems.push(Problem::new(field, message));
    match (schema.type_.as_deref(), it) {
        (Some("string"), Value::String(text)) => return string(schema, text, &mut report),
        (Some("integer"), Value::Number(number)) => {
            return integer(schema, number.as_i64(), &mut report);
        }
        (Some("boolean"), Value::Bool(_)) => {}
        (Some("array"), Value::Array(items)) => array(schema, items, field, problems),
        (Some("object"), Value::Object(fields)) => object(schema, fields, field, problems),
        (expected, found) => {
            report(wrong_kind(expected.unwrap_or_default(), found));
            return false;
        }
    }
    true
}

fn keeps_null(schema: &JSONSchemaProps) -> bool {
    schema.nullable == Some(true)
}

fn wrong_kind(expected: &str, found: &Value) -> String {
    let expected = match expected {
        "string" => "a string",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "an object",
    };
    let (found, hint) = match found {
        Value::Null => ("empty", ""),
        Value::Bool(_) => ("a boolean", "; put it in quotes"),
        Value::Number(_) => ("a number", "; put it in quotes"),
        Value::String(_) => ("a string", ""),
        Value::Array(_) => ("a list", ""),
        Value::Object(_) => ("an object", ""),
    };
    let hint = if expected == "a string" { hint } else { "" };
    format!("must be {expected}, but is {found}{hint}")
}

fn string(schema: &JSONSchemaProps, text: &str, report: &mut impl FnMut(String)) -> bool {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(allowed) = &schema.enum_ {
        let allowed: Vec<&str> = allowed.iter().filter_map(|one| one.0.as_str()).collect();
        if !allowed.contains(&text) {
            report(format!("must be one of {}", list(&allowed, "or")));
            return false;
        }
    } else if length < schema.min_length.unwrap_or(0) {
        report("must not be empty".to_owned());
    } else if let Some(max) = schema.max_length
        && length > max
    {
        report(format!("has {length} characters; at most {max} are allowed"));
    } else if let Some(pattern) = &schema.pattern
        && let Some(message) = mismatch(pattern, text)
    {
        report(message.to_owned());
        return false;
    }
    true
}

fn integer(schema: &JSONSchemaProps, number: Option<i64>, report: &mut impl FnMut(String)) -> bool {
    let (min, max) = (schema.minimum.unwrap_or(f64::MIN), schema.maximum.unwrap_or(f64::MAX));
    #[expect(clippy::cast_precision_loss, reason = "all bounds are far below 2^53")]
    let inside = number.is_some_and(|number| (min..=max).contains(&(number as f64)));
    if !inside {
        report(format!("must be a whole number from {min} to {max}"));
    }
    inside
}

fn array(schema: &JSONSchemaProps, items: &mut [Value], field: &str, problems: &mut Vec<Problem>) {
    let (count, min) = (items.len(), schema.min_items.unwrap_or(0));
    let (signed, max) =
        (i64::try_from(count).unwrap_or(i64::MAX), schema.max_items.unwrap_or(i64::MAX));
    if signed < min {
        let least = if min == 1 { "one entry".to_owned() } else { format!("{min} entries") };
        problems.push(Problem::new(field, format!("must have at least {least}")));
    } else if signed > max {
        let message = format!("has {count} entries; at most {max} are allowed");
        problems.push(Problem::new(field, message));
        return;
    }
    if schema.x_kubernetes_list_type.as_deref() == Some("set") {
        for (at, one) in items.iter().enumerate() {
            if let Some(before) = items[..at].iter().position(|other| other == one) {
                let message = format!("is the same as {field}[{before}]; remove one of them");
                problems.push(Problem::new(format!("{field}[{at}]"), message));
            }
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        for (at, one) in items.iter_mut().enumerate() {
            value(item, one, &format!("{field}[{at}]"), problems);
        }
    }
}

fn object(
    schema: &JSONSchemaProps,
    fields: &mut Map<String, Value>,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let none = std::collections::BTreeMap::new();
    let known = schema.properties.as_ref().unwrap_or(&none);
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    // As the API server does.
    fields.retain(|name, it| !it.is_null() || known.get(name).is_none_or(keeps_null));
    let unknown: Vec<String> =
        fields.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
    // Of what must be given once, only the actions are too many to be named in a message.
    let is_action = schema.one_of.is_some() && names.len() > 4;
    if let Some(variants) = &schema.one_of {
        let variants: Vec<&str> = variants
            .iter()
            .filter_map(|one| Some(one.required.as_ref()?.first()?.as_str()))
            .collect();
        let found: Vec<&str> =
            variants.iter().copied().filter(|name| fields.contains_key(*name)).collect();
        // An unknown name is what is wrong then, and is reported below.
        if found.len() > 1 || found.is_empty() && unknown.is_empty() {
            let what = match is_action {
                true => "action".to_owned(),
                false => format!("of {}", list(&variants, "and")),
            };
            let names = if found.is_empty() { "none".to_owned() } else { list(&found, "and") };
            problems.push(Problem::new(
                field,
                format!("exactly one {what} must be given; found {names}"),
            ));
        }
        for name in found.iter().skip(1) {
            fields.remove(*name);
        }
    }
    for name in &unknown {
        fields.remove(name);
        let what = if is_action { "unknown action" } else { "unknown field" };
        let advice = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "nothing can be set here".to_owned(),
            None => format!("known here: {}", list(&names, "and")),
        };
        problems.push(Problem::new(child(field, name), format!("{what}; {advice}")));
    }
    let required = schema.required.as_deref().unwrap_or_default();
    for name in required.iter().filter(|name| !fields.contains_key(*name)) {
        problems.push(Problem::new(child(field, name), "is missing"));
    }
    fields.retain(|name, it| {
        let Some(schema) = known.get(name) else { return true };
        value(schema, it, &child(field, name), problems) || required.contains(name)
    });
}

/// The path of a field of the object at `parent`.
pub(crate) fn child(parent: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match (parent.is_empty(), plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{parent}.{name}"),
        (_, false) => format!("{parent}[{name:?}]"),
    }
}

/// `a, b and c`.
pub(crate) fn list(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// The only known name that differs by at most two letters, or by case.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let near = |other: &&&str| {
        let bound = if other.len() > 4 { 2 } else { 1 };
        name.len() < 64 && distance(name.as_bytes(), other.to_ascii_lowercase().as_bytes()) <= bound
    };
    let mut candidates = known.iter().filter(near);
    match (candidates.next(), candidates.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Levenshtein's.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
