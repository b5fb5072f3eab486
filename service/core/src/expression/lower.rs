//! From the parser's tree to ours: resolves names, expands loops, refuses what there is not.

use cel::{
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
    parser::Expression as Tree,
};
use regex::RegexBuilder;

use super::{
    MAX_DEPTH, MAX_LOOPS,
    function::Function,
    node::{Loop, LoopKind, Node},
    operator::Binary,
};
use crate::{json::Value, path::Root};

/// What a compiled regular expression may take.
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// The tree node that is at fault, and what is wrong with it.
type Problem = (u64, String);

pub(super) fn lower(tree: &Tree) -> Result<Node, Problem> {
    Lowering { names: Vec::new(), depth: 0 }.node(tree)
}

struct Lowering<'t> {
    /// Of the loops around the current node, outermost first.
    names: Vec<&'t str>,
    depth: usize,
}

impl<'t> Lowering<'t> {
    fn node(&mut self, tree: &'t Tree) -> Result<Node, Problem> {
        if self.depth == MAX_DEPTH {
            return Err((tree.id, format!("it is nested or chained more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let node = self.inner(tree);
        self.depth -= 1;
        node
    }

    fn boxed(&mut self, tree: &'t Tree) -> Result<Box<Node>, Problem> {
        self.node(tree).map(Box::new)
    }

    fn inner(&mut self, tree: &'t Tree) -> Result<Node, Problem> {
        match &tree.expr {
            Expr::Literal(literal) => self::literal(literal).map_err(|why| (tree.id, why)),
            Expr::Ident(name) => self.name(name).map_err(|why| (tree.id, why)),
            Expr::Select(select) => Ok(field(self.node(&select.operand)?, &select.field)),
            Expr::Call(call) => self.call(tree.id, call),
            Expr::List(list) => list
                .elements
                .iter()
                .map(|item| self.node(item))
                .collect::<Result<_, _>>()
                .map(Node::List),
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        Ok((self.node(&entry.key)?, self.node(&entry.value)?))
                    }
                    EntryExpr::StructField(_) => Err((entry.id, no("message types"))),
                });
                entries.collect::<Result<_, _>>().map(Node::Map)
            }
            Expr::Struct(_) => Err((tree.id, no("message types"))),
            Expr::Comprehension(_) | Expr::Unspecified => Err((tree.id, "it is not CEL".into())),
        }
    }

    fn name(&self, name: &str) -> Result<Node, String> {
        if let Some(slot) = self.names.iter().rposition(|known| *known == name) {
            return Ok(Node::Local(slot));
        }
        Root::named(name).map(Node::Root).ok_or_else(|| {
            format!("there is no `{name}`: an expression has `body`, `headers` and `preprocess`")
        })
    }

    fn call(&mut self, id: u64, call: &'t CallExpr) -> Result<Node, Problem> {
        if let Some(target) = &call.target {
            return self.member(id, &call.func_name, target, &call.args);
        }
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [of]) => self.boxed(of).map(Node::Not),
            (operators::NEGATE, [of]) => self.boxed(of).map(Node::Negate),
            (operators::LOGICAL_AND, [left, right]) => {
                Ok(Node::And(self.boxed(left)?, self.boxed(right)?))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                Ok(Node::Or(self.boxed(left)?, self.boxed(right)?))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let parts = [self.node(condition)?, self.node(then)?, self.node(otherwise)?];
                Ok(Node::Conditional(Box::new(parts)))
            }
            (operators::INDEX, [of, index]) => {
                let of = self.node(of)?;
                Ok(match self.node(index)? {
                    Node::Literal(Value::String(name)) => field(of, &name),
                    index => Node::Index(Box::new(of), Box::new(index)),
                })
            }
            (operators::HAS, [tested]) => match self.node(tested)? {
                Node::Field(of, name) => Ok(Node::Has(of, name)),
                _ => Err((id, "`has` takes a field, like has(body.userId)".to_owned())),
            },
            ("matches", [text, pattern]) => self.matches(text, pattern),
            (name, args) => {
                if let (Some(operator), [left, right]) = (Binary::named(name), args) {
                    return Ok(Node::Binary(operator, self.boxed(left)?, self.boxed(right)?));
                }
                let function = Function::global(name, args.len()).map_err(|why| (id, why))?;
                let args = args.iter().map(|arg| self.node(arg)).collect::<Result<_, _>>()?;
                Ok(Node::Call(function, args))
            }
        }
    }

    fn member(
        &mut self,
        id: u64,
        name: &str,
        target: &'t Tree,
        args: &'t [Tree],
    ) -> Result<Node, Problem> {
        if let Some(kind) = LoopKind::named(name) {
            return self.each(id, kind, target, args);
        }
        if let ("matches", [pattern]) = (name, args) {
            return self.matches(target, pattern);
        }
        let function = Function::member(name, args.len()).map_err(|why| (id, why))?;
        let parts = std::iter::once(target).chain(args).map(|part| self.node(part));
        Ok(Node::Call(function, parts.collect::<Result<_, _>>()?))
    }

    fn each(
        &mut self,
        id: u64,
        kind: LoopKind,
        range: &'t Tree,
        args: &'t [Tree],
    ) -> Result<Node, Problem> {
        let (variable, guard, step) = match args {
            [variable, step] => (variable, None, step),
            [variable, guard, step] if kind == LoopKind::Map => (variable, Some(guard), step),
            _ => return Err((id, "a loop takes a name and an expression: map(x, x.id)".into())),
        };
        let range = self.node(range)?;
        let Expr::Ident(name) = &variable.expr else {
            return Err((variable.id, "a loop's variable must be a plain name".to_owned()));
        };
        if Root::named(name).is_some() {
            return Err((variable.id, format!("`{name}` cannot be a loop's variable")));
        }
        if self.names.len() == MAX_LOOPS {
            return Err((id, format!("loops are nested more than {MAX_LOOPS} deep")));
        }
        self.names.push(name);
        let parts = guard.map(|guard| self.node(guard)).transpose();
        let parts = parts.and_then(|guard| Ok((guard, self.node(step)?)));
        self.names.pop();
        let (guard, step) = parts?;
        Ok(Node::Loop(Box::new(Loop { kind, range, guard, step })))
    }

    /// The pattern must be written out: then a bad one is found here, and compiled once.
    fn matches(&mut self, text: &'t Tree, pattern: &'t Tree) -> Result<Node, Problem> {
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            let why = "`matches` takes its pattern as a literal string";
            return Err((pattern.id, why.to_owned()));
        };
        let regex = RegexBuilder::new(literal.inner()).size_limit(MAX_PATTERN_BYTES).build();
        let regex = regex.map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            (
                pattern.id,
                format!("not a regular expression: {}", last.trim_start_matches("error: ")),
            )
        })?;
        Ok(Node::Matches(self.boxed(text)?, regex))
    }
}

/// Header names are kept in lower case, here as in paths.
fn field(of: Node, name: &str) -> Node {
    let name = match of {
        Node::Root(Root::Headers) => name.to_ascii_lowercase().into(),
        _ => name.into(),
    };
    Node::Field(Box::new(of), name)
}

fn literal(literal: &LiteralValue) -> Result<Node, String> {
    Ok(match literal {
        LiteralValue::Boolean(value) => Node::Literal(Value::Bool(*value.inner())),
        LiteralValue::Null => Node::Literal(Value::Null),
        LiteralValue::String(text) => Node::Literal(Value::from(text.inner())),
        LiteralValue::Int(number) => Node::Int(*number.inner()),
        LiteralValue::UInt(number) => Node::UInt(*number.inner()),
        LiteralValue::Double(number) => Node::Double(*number.inner()),
        LiteralValue::Bytes(_) => return Err(no("bytes")),
    })
}

fn no(what: &str) -> String {
    format!("expressions have no {what} here: results are JSON")
}

impl LoopKind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" | "existsOne" => Self::ExistsOne,
            "map" => Self::Map,
            "filter" => Self::Filter,
            _ => return None,
        })
    }
}
