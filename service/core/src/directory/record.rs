//! What is known of one entry, and how a write is merged into it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use indexmap::IndexMap;

use super::Stamp;
use crate::json::Value;

/// What is known of an entry: its properties as a tree in which every value has the stamp of the
/// write it is from, and the newest deletion, behind which nothing older comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub(super) root: Node,
}

/// A place in the tree. What is inside `object` and `children` is newer than `leaf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The newest write here of something that is no object. No value: the place was deleted, or it
    /// is an object again.
    pub(super) leaf: Option<(Stamp, Option<Value>)>,
    /// The newest write here of an object, where its children do not tell that there was one.
    pub(super) object: Option<Stamp>,
    pub(super) children: BTreeMap<String, Node>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The record is another one now.
    pub changed: bool,
    /// How many values the write has.
    pub values: usize,
    /// How many of them were left out, because something newer is known.
    pub outdated: usize,
    /// The entry was deleted, or for a deletion written, by something newer than the write.
    pub overruled: bool,
}

impl Record {
    /// Merges properties into it; also without any the entry exists from then on.
    pub fn set(&mut self, stamp: Stamp, properties: &IndexMap<String, Value>) -> Effect {
        let mut effect = Effect::default();
        if self.deleted().is_some_and(|deleted| deleted >= stamp) {
            effect.values = properties.values().map(count).sum();
            (effect.outdated, effect.overruled) = (effect.values, true);
            return effect;
        }
        if self.root.object.is_none_or(|seen| seen < stamp) {
            self.root.object = Some(stamp);
            effect.changed = true;
        }
        self.root.merge(stamp, properties, &mut effect);
        effect
    }

    /// Removes everything that is not newer, and keeps out what is older and comes later.
    pub fn delete(&mut self, stamp: Stamp) -> Effect {
        let mut effect = Effect::default();
        if self.deleted().is_none_or(|deleted| deleted < stamp) {
            self.root.leaf = Some((stamp, None));
            self.root.prune_inside(stamp);
            effect.changed = true;
        }
        effect.overruled = self.exists();
        effect
    }

    /// Whether there is such an entry, and not only the memory of one.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.root.object.is_some()
    }

    /// When it was last deleted.
    #[must_use]
    pub fn deleted(&self) -> Option<Stamp> {
        self.root.leaf.as_ref().map(|(stamp, _)| *stamp)
    }

    /// Of the newest write; `None`: nothing was ever written.
    #[must_use]
    pub fn updated(&self) -> Option<Stamp> {
        self.root.object.max(self.deleted())
    }

    /// What is known, with all keys in the order of their bytes.
    #[must_use]
    pub fn properties(&self) -> Value {
        self.root.object()
    }

    /// Bytes that the properties have as JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        size(&self.properties())
    }
}

impl Node {
    fn merge(&mut self, stamp: Stamp, map: &IndexMap<String, Value>, effect: &mut Effect) {
        for (key, value) in map {
            self.children.entry(key.clone()).or_default().write(stamp, value, effect);
        }
    }

    fn write(&mut self, stamp: Stamp, value: &Value, effect: &mut Effect) {
        let known = self.leaf.as_ref().map(|(stamp, _)| *stamp);
        match value {
            Value::Object(_) if known >= Some(stamp) => {
                let values = count(value);
                effect.values += values;
                effect.outdated += values;
            }
            Value::Object(map) => {
                if map.is_empty() {
                    effect.values += 1;
                    if self.object.is_none_or(|seen| seen < stamp) {
                        self.object = Some(stamp);
                        effect.changed = true;
                    }
                }
                self.merge(stamp, map, effect);
                self.hide_leaf();
            }
            _ => {
                effect.values += 1;
                if known >= Some(stamp) {
                    effect.outdated += usize::from(known > Some(stamp));
                    return;
                }
                self.leaf = Some((stamp, Some(value.clone())));
                self.prune_inside(stamp);
                effect.changed = true;
                effect.outdated += usize::from(self.hide_leaf());
            }
        }
    }

    /// What is newer and an object hides what is older and none.
    fn hide_leaf(&mut self) -> bool {
        let hidden = self.object.is_some() || !self.children.is_empty();
        if let (true, Some((_, value))) = (hidden, &mut self.leaf) {
            *value = None;
        }
        hidden
    }

    /// Keeps what is newer, and says whether that is anything.
    fn prune(&mut self, stamp: Stamp) -> bool {
        self.leaf.take_if(|(own, _)| *own <= stamp);
        self.prune_inside(stamp);
        self.leaf.is_some() || self.object.is_some() || !self.children.is_empty()
    }

    fn prune_inside(&mut self, stamp: Stamp) {
        self.object.take_if(|own| *own <= stamp);
        self.children.retain(|_, child| child.prune(stamp));
    }

    fn value(&self) -> Value {
        match &self.leaf {
            Some((_, Some(value))) => sorted(value),
            _ => self.object(),
        }
    }

    fn object(&self) -> Value {
        let children = self.children.iter();
        Value::Object(children.map(|(key, child)| (key.clone(), child.value())).collect())
    }
}

/// Objects inside of lists are values like others, but look the same whoever wrote them.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut map: Vec<_> = map.iter().map(|(key, it)| (key.clone(), sorted(it))).collect();
            map.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(map.into_iter().collect())
        }
        other => other.clone(),
    }
}

/// Values that are merged one by one.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(map) if !map.is_empty() => map.values().map(count).sum(),
        _ => 1,
    }
}

/// Bytes of a value as JSON.
pub(super) fn size(value: &Value) -> usize {
    struct Counter(usize);
    impl fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _ = write!(counter, "{value}");
    counter.0
}
