//! Following a path: to read what is there, or to remove it. Each value of the document is
//! visited at most once, whatever the path.

use std::borrow::Cow;

use super::{Path, Root, Step};
use crate::{event::Document, json::Value};

impl Path {
    /// What is there: `None` when nothing is, `Some(Null)` when a `null` is. A path with `[*]`
    /// gives a new list of what the rest of it finds, one flat list however many `[*]` there are.
    #[must_use]
    pub fn resolve<'a>(&self, document: &'a Document) -> Option<Cow<'a, Value>> {
        let start = match self.root {
            Root::Body => &document.body,
            Root::Headers => &document.headers,
            Root::Preprocess => &document.preprocess,
        };
        let each = self.steps.iter().position(|step| *step == Step::Each);
        let Some(each) = each else { return follow(start, &self.steps).map(Cow::Borrowed) };
        let Some(Value::Array(items)) = follow(start, &self.steps[..each]) else { return None };
        let mut found = Vec::new();
        for item in items {
            collect(item, &self.steps[each + 1..], &mut found);
        }
        Some(Cow::Owned(Value::Array(found)))
    }

    /// Takes what is there out of an event's body. A key goes from its object; an element of a
    /// list becomes `null`, so that the others keep their places; the body itself becomes `null`.
    /// Says whether it changed anything. A path that is no body path changes nothing.
    pub(crate) fn remove_from(&self, body: &mut Value) -> bool {
        self.is_body() && remove(body, &self.steps)
    }
}

/// Follows steps without `[*]`.
fn follow<'a>(start: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(start, |value, step| match (step, value) {
        (Step::Key(key), Value::Object(map)) => map.get(&**key),
        (Step::Index(index), Value::Array(items)) => items.get(position(*index, items.len())?),
        _ => None,
    })
}

/// Appends what `steps` find under `start`, spreading every further `[*]`.
fn collect(start: &Value, steps: &[Step], found: &mut Vec<Value>) {
    let each = steps.iter().position(|step| *step == Step::Each);
    match (each, follow(start, &steps[..each.unwrap_or(steps.len())])) {
        (None, Some(value)) => found.push(value.clone()),
        (Some(each), Some(Value::Array(items))) => {
            for item in items {
                collect(item, &steps[each + 1..], found);
            }
        }
        _ => {}
    }
}

fn remove(value: &mut Value, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        let was_there = !value.is_null();
        *value = Value::Null;
        return was_there;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(map)) if rest.is_empty() => {
            map.shift_remove(&**key).is_some()
        }
        (Step::Key(key), Value::Object(map)) => {
            map.get_mut(&**key).is_some_and(|value| remove(value, rest))
        }
        (Step::Index(index), Value::Array(items)) => position(*index, items.len())
            .and_then(|at| items.get_mut(at))
            .is_some_and(|item| remove(item, rest)),
        (Step::Each, Value::Array(items)) => {
            items.iter_mut().fold(false, |changed, item| remove(item, rest) | changed)
        }
        _ => false,
    }
}

/// Where in a list of `length` the index points, if it points before its end.
fn position(index: i32, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(front) => Some(front),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}
