//! Paths into an event: what one is, how it is written, which path covers another. Reading
//! one from text is in `parse`, following one in `resolve`. The grammar is published in
//! `docs/paths.md`, its vectors in `tests/vectors/paths.yaml`.

mod parse;
mod resolve;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

pub use parse::PathError;

use crate::json::Value;

/// A path may have this many characters, written in full (with its `body.`).
pub const MAX_CHARACTERS: usize = 256;

/// A path may have this many steps after its root.
pub const MAX_STEPS: usize = 64;

/// Where to look in an event. Cannot be invalid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    root: Root,
    steps: Box<[Step]>,
}

/// The namespace a path starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    Body,
    Headers,
    Preprocess,
}

/// One step down from a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The value of a key of an object.
    Key(Box<str>),
    /// An element of a list; from its end when negative.
    Index(i32),
    /// Every element of a list.
    Each,
}

impl Root {
    const ALL: [Self; 3] = [Self::Body, Self::Headers, Self::Preprocess];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Headers => "headers",
            Self::Preprocess => "preprocess",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.name() == name)
    }
}

impl Path {
    /// Reads a path from its text.
    ///
    /// # Errors
    /// When it does not follow the grammar, with the position and what was expected there.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse::parse(text)
    }

    /// A path for what an expression reads. Steps that no path can have (there are too many, or
    /// they lie inside a header) are cut off: what remains reads at least as much.
    pub(crate) fn covering(root: Root, mut steps: Vec<Step>) -> Self {
        steps.truncate(match root {
            Root::Headers => 1,
            Root::Body | Root::Preprocess => MAX_STEPS,
        });
        Self { root, steps: steps.into() }
    }

    /// Whether it looks into the event itself, not into headers or computed values.
    #[must_use]
    pub fn is_body(&self) -> bool {
        self.root == Root::Body
    }

    /// The member of the event that it leads into; `None` when it needs the whole event, or none
    /// of it.
    pub(crate) fn member(&self) -> Option<&str> {
        match (self.root, self.steps.first()) {
            (Root::Body, Some(Step::Key(key))) => Some(key),
            _ => None,
        }
    }

    /// Whether `other` finds nothing once what this reaches is gone: it is the same, or leads
    /// deeper. `[*]` stands for every index, but no index for `[*]`; an index from the front may be
    /// any from the end.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.root == other.root
            && self.steps.len() <= other.steps.len()
            && self.steps.iter().zip(&other.steps).all(|(one, other)| one.covers(other))
    }
}

impl Step {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Index(one), Self::Index(other)) => {
                one == other || one.is_negative() != other.is_negative()
            }
            (Self::Each, Self::Index(_)) => true,
            _ => self == other,
        }
    }
}

/// Whether a key may stand in a path without quotes.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(is_bare_character)
}

fn is_bare_character(c: char) -> bool {
    match c {
        '_' | '-' | '$' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => !c.is_whitespace() && !c.is_control(),
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root.name())?;
        for step in &self.steps {
            match step {
                Step::Key(key) if is_bare(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{}]", Value::from(&**key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}
