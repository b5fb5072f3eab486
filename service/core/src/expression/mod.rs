//! Expressions (CEL): compiled once per configuration, evaluated once per event.
//!
//! The `cel` crate parses; `lower` turns its tree into our own `node`s with every name resolved
//! and every function known; `evaluate` walks that. The crate's interpreter is not used: it would
//! convert each event up front, copies what a loop touches, and has no bound on the work one
//! expression may cause. Tenants write expressions and strangers shape events, so here every step
//! is counted. What the language has is published in `docs/paths.md`, its vectors in
//! `tests/vectors/expressions.yaml`.

mod compile;
mod evaluate;
mod function;
mod lower;
mod node;
mod number;
mod operator;
#[cfg(test)]
mod tests;
mod value;

use crate::{event::Document, json::Value, path::Path};
use node::Node;

/// An expression may have this many characters.
pub const MAX_CHARACTERS: usize = 1_024;

/// Parentheses, brackets and braces may be nested this deep.
pub const MAX_BRACKETS: usize = 32;

/// Operators, accesses and calls may be chained or nested this deep.
pub const MAX_DEPTH: usize = 100;

/// Loops (`all`, `exists`, `exists_one`, `map`, `filter`) may be nested this deep.
pub const MAX_LOOPS: usize = 2;

/// What one evaluation may cost: a step for every operation, every element a loop visits and
/// every value compared or copied, and one for every 16 bytes of text that is read or made.
pub const MAX_STEPS: u32 = 1 << 20;

/// A compiled expression. Cannot be invalid.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    node: Node,
}

/// Text that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no expression: {}{problem}", at(*.position))]
pub struct ExpressionError {
    text: String,
    position: Option<usize>,
    problem: String,
}

/// Why an expression has no value for an event. Holds names the expression's author wrote and
/// kinds of values, never a value of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It reads something the event does not have; which, as the expression spells it.
    #[error("{0} is not there")]
    Missing(String),
    /// An operator or function does not take what it was given.
    #[error("{0}")]
    Unfit(String),
    /// It has no result of the kind that is needed, or none that JSON can hold.
    #[error("{0}")]
    Result(String),
    /// It needs more than [`MAX_STEPS`].
    #[error("takes more than {MAX_STEPS} steps: this event is too large for this expression")]
    TooMuchWork,
}

/// What expressions look into. Costs nothing to make: values are read where they are used.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'d> {
    document: &'d Document,
}

impl<'d> Scope<'d> {
    /// A scope with the variables `body`, `headers` and `preprocess`.
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        Self { document }
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is not CEL, uses a name or function that does not exist, or is over a limit; with
    /// the position where that is known.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let node = compile::compile(text)?;
        Ok(Self { text: text.into(), node })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it may read: where a chain of names, quoted keys and literal indexes ends, all that
    /// lies there counts as read.
    #[must_use]
    pub fn reads(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.node.reads(&mut paths);
        paths
    }

    /// The value for an event. A value of the event that is only handed on is the same, to the
    /// text of its numbers; objects keep their keys in the order they were written or received.
    ///
    /// # Errors
    /// When it has none.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvaluationError> {
        evaluate::evaluate(&self.node, scope.document)
    }

    /// Whether the expression is true of an event.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        evaluate::holds(&self.node, scope.document)
    }
}

impl ExpressionError {
    fn new(text: &str, position: Option<usize>, problem: impl Into<String>) -> Self {
        let mut shown: String = text.chars().take(100).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { text: shown, position, problem: problem.into() }
    }

    /// Which character, counted from 1.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.position
    }
}

fn at(position: Option<usize>) -> String {
    position.map_or_else(String::new, |position| format!("at character {position}, "))
}
