//! Values while an expression is evaluated: borrowed from the event or the expression where
//! possible, shared where computed, so that copying one never copies what it holds.

use std::{rc::Rc, slice};

use indexmap::IndexMap;

use super::number::Number;
use crate::json::Value;

#[derive(Clone, Debug)]
pub(super) enum Val<'v> {
    /// Part of the event, or a literal of the expression.
    Json(&'v Value),
    /// A key of an object.
    Key(&'v str),
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    List(Rc<Vec<Val<'v>>>),
    Map(Rc<IndexMap<Rc<str>, Val<'v>>>),
}

impl<'v> Val<'v> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Json(Value::Null))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Json(Value::Bool(value)) => Some(*value),
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Json(Value::Number(text)) => Some(Number::read(text)),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Json(Value::String(text)) => Some(text),
            Self::Key(text) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Json(Value::Object(_)) | Self::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Json(Value::Array(_)) | Self::List(_))
    }

    /// The value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<Val<'v>> {
        match self {
            Self::Json(value) => value.get(key).map(Self::Json),
            Self::Map(map) => map.get(key).cloned(),
            _ => None,
        }
    }

    /// How many elements a list or entries an object has.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.len()),
            Self::Json(Value::Object(map)) => Some(map.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(map) => Some(map.len()),
            _ => None,
        }
    }

    /// An element of a list.
    pub(super) fn at(&self, index: usize) -> Option<Val<'v>> {
        match self {
            Self::Json(Value::Array(items)) => items.get(index).map(Self::Json),
            Self::List(items) => items.get(index).cloned(),
            _ => None,
        }
    }

    /// The elements of a list, or the keys of an object.
    pub(super) fn items(&self) -> Option<Items<'v>> {
        match self {
            Self::Json(Value::Array(items)) => Some(Items::Json(items.iter())),
            Self::Json(Value::Object(map)) => Some(Items::Keys(map.keys())),
            Self::List(items) => Some(Items::List(Rc::clone(items), 0)),
            Self::Map(map) => Some(Items::Map(Rc::clone(map), 0)),
            _ => None,
        }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Json(value) => value.kind(),
            Self::Key(_) | Self::Text(_) => "a string",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// An iterator that owns what it needs, so that the evaluator stays free while it runs.
pub(super) enum Items<'v> {
    Json(slice::Iter<'v, Value>),
    Keys(indexmap::map::Keys<'v, String, Value>),
    List(Rc<Vec<Val<'v>>>, usize),
    Map(Rc<IndexMap<Rc<str>, Val<'v>>>, usize),
}

impl<'v> Iterator for Items<'v> {
    type Item = Val<'v>;

    fn next(&mut self) -> Option<Val<'v>> {
        match self {
            Self::Json(items) => items.next().map(Val::Json),
            Self::Keys(keys) => keys.next().map(|key| Val::Key(key)),
            Self::List(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned()
            }
            Self::Map(map, at) => {
                *at += 1;
                map.get_index(*at - 1).map(|(key, _)| Val::Text(Rc::clone(key)))
            }
        }
    }
}
