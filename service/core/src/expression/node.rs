//! What an expression is after compilation: every name resolved, every function known.

use std::fmt::Write as _;

use regex::Regex;

use super::{function::Function, operator::Binary};
use crate::{
    json::Value,
    path::{Path, Root, Step},
};

#[derive(Debug)]
pub(super) enum Node {
    /// A string, a boolean or null.
    Literal(Value),
    Int(i64),
    UInt(u64),
    Double(f64),
    Root(Root),
    /// The variable of the loop around it: 0 of the outermost.
    Local(usize),
    /// `of.name` or `of["name"]`
    Field(Box<Node>, Box<str>),
    /// `of[index]`
    Index(Box<Node>, Box<Node>),
    /// `has(of.name)`
    Has(Box<Node>, Box<str>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    /// Condition, then, else.
    Conditional(Box<[Node; 3]>),
    Binary(Binary, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    /// `text.matches("literal")`
    Matches(Box<Node>, Regex),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Loop(Box<Loop>),
}

#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// Only of `map` with three arguments.
    pub(super) guard: Option<Node>,
    pub(super) step: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl Node {
    /// Adds a path for everything it may read.
    pub(super) fn reads(&self, paths: &mut Vec<Path>) {
        match self {
            Self::Literal(_) | Self::Int(_) | Self::UInt(_) | Self::Double(_) | Self::Local(_) => {}
            Self::Root(root) => paths.push(Path::covering(*root, Vec::new())),
            Self::Field(..) | Self::Index(..) | Self::Has(..) => self.chain_reads(paths),
            Self::Not(of) | Self::Negate(of) | Self::Matches(of, _) => of.reads(paths),
            Self::And(left, right) | Self::Or(left, right) | Self::Binary(_, left, right) => {
                left.reads(paths);
                right.reads(paths);
            }
            Self::Conditional(parts) => parts.iter().for_each(|part| part.reads(paths)),
            Self::Call(_, parts) | Self::List(parts) => {
                parts.iter().for_each(|part| part.reads(paths));
            }
            Self::Map(entries) => {
                for (key, value) in entries {
                    key.reads(paths);
                    value.reads(paths);
                }
            }
            Self::Loop(of) => {
                of.range.reads(paths);
                of.guard.iter().for_each(|guard| guard.reads(paths));
                of.step.reads(paths);
            }
        }
    }

    /// A chain of accesses, as far from its root as every step is known.
    fn chain_reads(&self, paths: &mut Vec<Path>) {
        let mut steps = Vec::new();
        let mut node = self;
        let root = loop {
            node = match node {
                Self::Field(of, name) | Self::Has(of, name) => {
                    steps.push(Some(Step::Key(name.clone())));
                    of
                }
                Self::Index(of, index) => {
                    steps.push(match **index {
                        // A negative index finds nothing here; in a path it would.
                        Self::Int(index @ 0..) => i32::try_from(index).ok().map(Step::Index),
                        _ => None,
                    });
                    index.reads(paths);
                    of
                }
                Self::Root(root) => break *root,
                other => return other.reads(paths),
            }
        };
        let known = steps.into_iter().rev().map_while(|step| step).collect();
        paths.push(Path::covering(root, known));
    }

    /// How the expression spells it, for messages.
    pub(super) fn spelling(&self) -> String {
        let mut text = String::new();
        self.spell(&mut text);
        text
    }

    fn spell(&self, text: &mut String) {
        match self {
            Self::Root(root) => text.push_str(root.name()),
            Self::Field(of, name) | Self::Has(of, name) => {
                of.spell(text);
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                // Writing to a string cannot fail.
                let _ = match plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
                    true => write!(text, ".{name}"),
                    false => write!(text, "[{}]", Value::from(&**name)),
                };
            }
            Self::Index(of, index) => {
                of.spell(text);
                text.push('[');
                index.spell(text);
                text.push(']');
            }
            Self::Int(number) => text.push_str(&number.to_string()),
            Self::Local(_) => text.push_str("the loop's variable"),
            _ => text.push('…'),
        }
    }
}
