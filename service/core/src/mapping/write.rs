//! Writing values into a payload by the kind of their field: ids become strings, single recipients
//! become lists. The same value always gives the same bytes. Where values come from, and what
//! happens when there is none, is decided in `template`.

use std::fmt::Write as _;

use super::{
    failure::{TOO_MANY_RECIPIENTS, WRONG_TYPE},
    field::Kind,
};
use crate::{
    event::words::what_is,
    json::{Quoted, Value},
};

/// At most this many recipients or members in one action.
const MAX_RECIPIENTS: usize = 1_000;

/// What a tenant that is given for all members may have, written as JSON.
const MAX_TENANT_BYTES: usize = 1_024;

/// Why a value cannot be written.
pub(super) struct Problem {
    pub(super) code: &'static str,
    /// Where inside the value: empty, or such as `[3].id`.
    pub(super) place: String,
    /// Continues a sentence that began with the place.
    pub(super) what: String,
}

type Written = Result<(), Problem>;

impl Kind {
    /// Whether a value counts as none: `null`, an empty id, an empty list of recipients.
    pub(super) fn is_no_value(self, value: &Value) -> bool {
        let list = matches!(self, Self::Recipients | Self::References | Self::Members);
        match value {
            Value::Null => true,
            Value::String(text) if text.is_empty() => {
                let other = matches!(self, Self::Text | Self::Flag | Self::Object);
                !other && self != Self::Properties
            }
            Value::Array(items) if items.is_empty() => list,
            _ => false,
        }
    }
}

/// Appends `value`, which is not `null`, as a field of kind `kind` has it. `tenant` is JSON for
/// members that have none.
pub(super) fn write(out: &mut String, kind: Kind, value: &Value, tenant: Option<&str>) -> Written {
    match kind {
        Kind::Id | Kind::Key => id(out, value, ID),
        Kind::MemberTenant => member_tenant(out, value),
        Kind::Text => text(out, value),
        Kind::Flag => match value {
            Value::Bool(_) => verbatim(out, value),
            other => Err(expected(Some(other), "true or false")),
        },
        Kind::Object | Kind::Properties => match value {
            Value::Object(_) => verbatim(out, value),
            other => Err(expected(Some(other), "an object")),
        },
        Kind::Tenant => entity(out, value, &["id"]),
        Kind::Recipient => recipient(out, value),
        Kind::Recipients => list(out, value, recipient),
        Kind::References => list(out, value, reference),
        Kind::Members => list(out, value, |out, value| member(out, value, tenant)),
    }
}

/// Begins a field.
pub(super) fn key(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    put(out, Quoted(name));
    out.push(':');
}

/// Appends a field as it is.
pub(super) fn property(out: &mut String, name: &str, value: &Value) {
    key(out, name);
    put(out, value);
}

const ID: &str = "a string that is not empty, or a number";
const ENTITY: &str = "an id, or an object with an `id`";

fn list(
    out: &mut String,
    value: &Value,
    mut item: impl FnMut(&mut String, &Value) -> Written,
) -> Written {
    let items = match value {
        Value::Array(items) => items,
        single => {
            out.push('[');
            item(out, single)?;
            out.push(']');
            return Ok(());
        }
    };
    if items.len() > MAX_RECIPIENTS {
        return Err(Problem {
            code: TOO_MANY_RECIPIENTS,
            place: String::new(),
            what: format!("has {} elements, at most {MAX_RECIPIENTS} are possible", items.len()),
        });
    }
    out.push('[');
    for (at, value) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        item(out, value).map_err(|problem| problem.inside(format_args!("[{at}]")))?;
    }
    out.push(']');
    Ok(())
}

fn recipient(out: &mut String, value: &Value) -> Written {
    entity(out, value, &["id", "collection"])
}

/// An id, or an object whose entries named in `ids` are ids. Only `id` must be there.
fn entity(out: &mut String, value: &Value, ids: &[&str]) -> Written {
    let Value::Object(map) = value else { return id(out, value, ENTITY) };
    if !map.contains_key("id") {
        return Err(expected(None, ID).inside(".id"));
    }
    out.push('{');
    for (name, value) in map {
        key(out, name);
        if ids.contains(&name.as_str()) {
            id(out, value, ID).map_err(|problem| problem.inside(format_args!(".{name}")))?;
        } else {
            put(out, value);
        }
    }
    out.push('}');
    Ok(())
}

/// A user by id, or an object by collection and id.
fn reference(out: &mut String, value: &Value) -> Written {
    if !matches!(value, Value::Object(_)) {
        return id(out, value, ENTITY);
    }
    let inner = |out: &mut String, name| match value.get(name) {
        Some(value) => {
            id(out, value, ID).map_err(|problem| problem.inside(format_args!(".{name}")))
        }
        None => Err(expected(None, ID).inside(format_args!(".{name}"))),
    };
    if value.get("collection").is_none() {
        return inner(out, "id");
    }
    out.push_str(r#"{"collection":"#);
    inner(out, "collection")?;
    out.push_str(r#","id":"#);
    inner(out, "id")?;
    out.push('}');
    Ok(())
}

/// A user, or an object with `user` and perhaps `tenant`.
fn member(out: &mut String, value: &Value, tenant: Option<&str>) -> Written {
    let (user, own, place) = match value.get("user") {
        Some(user) => (user, value.get("tenant").filter(|own| !Kind::Id.is_no_value(own)), ".user"),
        None => (value, None, ""),
    };
    out.push_str(r#"{"user":"#);
    if matches!(user, Value::Object(_)) {
        entity(out, user, &["id"]).map_err(|problem| problem.inside(place))?;
    } else {
        out.push_str(r#"{"id":"#);
        id(out, user, ENTITY).map_err(|problem| problem.inside(place))?;
        out.push('}');
    }
    if own.is_some() || tenant.is_some() {
        key(out, "tenant");
    }
    match (own, tenant) {
        (Some(own), _) => id(out, own, ID).map_err(|problem| problem.inside(".tenant"))?,
        (None, tenant) => out.push_str(tenant.unwrap_or_default()),
    }
    out.push('}');
    Ok(())
}

/// Bounded, because it is repeated for each member: a request must not decide how much memory its
/// payload takes.
fn member_tenant(out: &mut String, value: &Value) -> Written {
    id(out, value, ID)?;
    if out.len() <= MAX_TENANT_BYTES {
        return Ok(());
    }
    Err(Problem {
        code: WRONG_TYPE,
        place: String::new(),
        what: format!("is longer than {MAX_TENANT_BYTES} bytes"),
    })
}

fn id(out: &mut String, value: &Value, wanted: &'static str) -> Written {
    match value {
        Value::String(id) if id.is_empty() => Err(expected(Some(value), wanted)),
        Value::String(_) | Value::Number(_) => text(out, value),
        other => Err(expected(Some(other), wanted)),
    }
}

fn text(out: &mut String, value: &Value) -> Written {
    match value {
        Value::String(text) => put(out, Quoted(text)),
        Value::Number(text) => put(out, Quoted(text)),
        other => return Err(expected(Some(other), "a string or a number")),
    }
    Ok(())
}

fn verbatim(out: &mut String, value: &Value) -> Written {
    put(out, value);
    Ok(())
}

fn put(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

fn expected(value: Option<&Value>, wanted: &str) -> Problem {
    Problem {
        code: WRONG_TYPE,
        place: String::new(),
        what: format!("{}, expected {wanted}", what_is(value)),
    }
}

impl Problem {
    fn inside(self, place: impl std::fmt::Display) -> Self {
        Self { place: format!("{place}{}", self.place), ..self }
    }
}
