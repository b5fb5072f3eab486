//! Walks a node tree over one event, counting every step.

use std::rc::Rc;

use indexmap::IndexMap;

use super::{
    EvaluationError, MAX_STEPS,
    node::{Loop, LoopKind, Node},
    number::Number,
    value::Val,
};
use crate::{
    event::Document,
    json::{self, Value},
    path::Root,
};

pub(super) fn evaluate(node: &Node, document: &Document) -> Result<Value, EvaluationError> {
    let mut evaluation = Evaluation::new(document);
    let value = evaluation.node(node)?;
    evaluation.result(&value, json::MAX_DEPTH)
}

pub(super) fn holds(node: &Node, document: &Document) -> Result<bool, EvaluationError> {
    let value = Evaluation::new(document).node(node)?;
    value.boolean().ok_or_else(|| {
        EvaluationError::Result(format!("it must be true or false, and is {}", value.kind()))
    })
}

/// One evaluation: `'v` is the event and the expression, which it borrows from.
pub(super) struct Evaluation<'v> {
    document: &'v Document,
    /// The variables of the loops under way, outermost first.
    locals: Vec<Val<'v>>,
    steps: u32,
}

type Outcome<'v> = Result<Val<'v>, EvaluationError>;

impl<'v> Evaluation<'v> {
    fn new(document: &'v Document) -> Self {
        Self { document, locals: Vec::new(), steps: MAX_STEPS }
    }

    pub(super) fn spend_many(&mut self, steps: usize) -> Result<(), EvaluationError> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps));
        // What does not fit leaves nothing, so that every later step fails too.
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvaluationError::TooMuchWork)
    }

    pub(super) fn spend_text(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.spend_many(1 + bytes / 16)
    }

    /// The number a value is. Reading one of the event takes as long as its text is.
    pub(super) fn number(&mut self, of: &Val<'v>) -> Result<Option<Number>, EvaluationError> {
        if let Val::Json(Value::Number(text)) = of {
            self.spend_many(text.len() / 16)?;
        }
        Ok(of.number())
    }

    fn node(&mut self, node: &'v Node) -> Outcome<'v> {
        self.spend_many(1)?;
        match node {
            Node::Literal(value) => Ok(Val::Json(value)),
            Node::Int(number) => Ok(Val::Number(Number::Int(*number))),
            Node::UInt(number) => Ok(Val::Number(Number::UInt(*number))),
            Node::Double(number) => Ok(Val::Number(Number::Double(*number))),
            Node::Root(root) => Ok(Val::Json(match root {
                Root::Body => &self.document.body,
                Root::Headers => &self.document.headers,
                Root::Preprocess => &self.document.preprocess,
            })),
            // Lowering gives out slots only inside their loop.
            Node::Local(slot) => Ok(self.locals[*slot].clone()),
            Node::Field(of, name) => self.field(node, of, name),
            Node::Index(of, index) => self.index(node, of, index),
            Node::Has(of, name) => self.has(of, name),
            Node::Not(of) => {
                let value = self.node(of)?;
                let value = value.boolean().ok_or_else(|| not_boolean("!", &value))?;
                Ok(Val::Bool(!value))
            }
            Node::Negate(of) => self.negated(of),
            Node::And(left, right) => self.logic(left, right, false),
            Node::Or(left, right) => self.logic(left, right, true),
            Node::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                let value = self.node(condition)?;
                let value = value.boolean().ok_or_else(|| not_boolean("?", &value))?;
                self.node(if value { then } else { otherwise })
            }
            Node::Binary(operator, left, right) => {
                let left = self.node(left)?;
                let right = self.node(right)?;
                self.binary(*operator, &left, &right)
            }
            Node::Call(function, args) => self.call(*function, args),
            Node::Matches(of, pattern) => {
                let value = self.node(of)?;
                let Some(text) = value.text() else {
                    let kind = value.kind();
                    return Err(EvaluationError::Unfit(format!("`matches` does not take {kind}")));
                };
                // A pattern may look at a character many times.
                self.spend_many(text.len())?;
                Ok(Val::Bool(pattern.is_match(text)))
            }
            Node::List(items) => {
                let items = items.iter().map(|item| self.node(item));
                items.collect::<Result<_, _>>().map(|items| Val::List(Rc::new(items)))
            }
            Node::Map(entries) => self.map(entries),
            Node::Loop(of) => self.each(of),
        }
    }

    fn field(&mut self, node: &Node, of: &'v Node, name: &str) -> Outcome<'v> {
        let value = self.node(of)?;
        value.get(name).ok_or_else(|| match value.is_map() {
            true => EvaluationError::Missing(node.spelling()),
            false => not("an object", of, &value),
        })
    }

    fn index(&mut self, node: &Node, of: &'v Node, index: &'v Node) -> Outcome<'v> {
        let value = self.node(of)?;
        let index = self.node(index)?;
        let missing = || EvaluationError::Missing(node.spelling());
        if value.is_map() {
            let key = index.text().ok_or_else(|| {
                EvaluationError::Unfit(format!(
                    "the key of an object is a string, not {}",
                    index.kind()
                ))
            })?;
            self.spend_many(key.len() / 16)?;
            return value.get(key).ok_or_else(missing);
        }
        if !value.is_list() {
            return Err(not("a list or an object", of, &value));
        }
        let number = self.number(&index)?.filter(|number| match number {
            Number::Double(double) => double.fract() == 0.0,
            Number::Int(_) | Number::UInt(_) => true,
        });
        let Some(number) = number else {
            let kind = index.kind();
            return Err(EvaluationError::Unfit(format!(
                "the index of a list is an integer, not {kind}"
            )));
        };
        let position = number.integer().and_then(|integer| usize::try_from(integer).ok());
        position.and_then(|position| value.at(position)).ok_or_else(missing)
    }

    /// False when any step on the way is missing or is no object; other errors stay errors.
    fn has(&mut self, of: &'v Node, name: &str) -> Outcome<'v> {
        match self.has_way(of)? {
            Some(value) => Ok(Val::Bool(value.get(name).is_some())),
            None => Ok(Val::Bool(false)),
        }
    }

    fn has_way(&mut self, of: &'v Node) -> Result<Option<Val<'v>>, EvaluationError> {
        match of {
            Node::Field(of, name) => {
                self.spend_many(1)?;
                Ok(self.has_way(of)?.and_then(|value| value.get(name)))
            }
            other => match self.node(other) {
                Ok(value) => Ok(Some(value)),
                Err(EvaluationError::Missing(_)) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    fn negated(&mut self, of: &'v Node) -> Outcome<'v> {
        let value = self.node(of)?;
        let Some(number) = self.number(&value)? else {
            return Err(EvaluationError::Unfit(format!("`-` does not take {}", value.kind())));
        };
        let overflow = || EvaluationError::Unfit("`-` has no result for this integer".to_owned());
        number.negated().map(Val::Number).ok_or_else(overflow)
    }

    /// `&&` and `||`: a side that decides makes the other's error irrelevant, whichever it is.
    fn logic(&mut self, left: &'v Node, right: &'v Node, decides: bool) -> Outcome<'v> {
        let sign = if decides { "||" } else { "&&" };
        let left = self.truth(sign, left);
        match left {
            Ok(value) if value == decides => return Ok(Val::Bool(decides)),
            Err(EvaluationError::TooMuchWork) => return Err(EvaluationError::TooMuchWork),
            _ => {}
        }
        match (left, self.truth(sign, right)) {
            (_, Ok(value)) if value == decides => Ok(Val::Bool(decides)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Ok(Val::Bool(!decides)),
        }
    }

    fn truth(&mut self, sign: &str, node: &'v Node) -> Result<bool, EvaluationError> {
        let value = self.node(node)?;
        value.boolean().ok_or_else(|| not_boolean(sign, &value))
    }

    fn call(&mut self, function: super::function::Function, args: &'v [Node]) -> Outcome<'v> {
        // Lowering has checked the number: one or two.
        let of = self.node(&args[0])?;
        let other = args.get(1).map(|arg| self.node(arg)).transpose()?;
        self.function(function, &of, other.as_ref())
    }

    fn map(&mut self, entries: &'v [(Node, Node)]) -> Outcome<'v> {
        let mut map = IndexMap::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.node(key)?;
            let Some(name) = key.text() else {
                let kind = key.kind();
                return Err(EvaluationError::Unfit(format!(
                    "the key of an object is a string, not {kind}"
                )));
            };
            self.spend_text(name.len())?;
            if map.insert(Rc::from(name), self.node(value)?).is_some() {
                return Err(EvaluationError::Unfit("an object has one key twice".to_owned()));
            }
        }
        Ok(Val::Map(Rc::new(map)))
    }

    fn each(&mut self, of: &'v Loop) -> Outcome<'v> {
        let range = self.node(&of.range)?;
        let Some(items) = range.items() else {
            let kind = range.kind();
            return Err(EvaluationError::Unfit(format!(
                "a loop runs over a list or an object, not {kind}"
            )));
        };
        match of.kind {
            LoopKind::All => self.quantified(of, items, false),
            LoopKind::Exists => self.quantified(of, items, true),
            LoopKind::ExistsOne => {
                let mut count = 0_u32;
                for item in items {
                    count += u32::from(self.step_holds(of, item)?);
                }
                Ok(Val::Bool(count == 1))
            }
            LoopKind::Map => {
                let mut found = Vec::new();
                for item in items {
                    found.extend(self.mapped(of, item)?);
                }
                Ok(Val::List(Rc::new(found)))
            }
            LoopKind::Filter => {
                let mut found = Vec::new();
                for item in items {
                    if self.step_holds(of, item.clone())? {
                        found.push(item);
                    }
                }
                Ok(Val::List(Rc::new(found)))
            }
        }
    }

    /// As `||` or `&&` over all elements: one that decides makes errors of others irrelevant.
    fn quantified(
        &mut self,
        of: &'v Loop,
        items: impl Iterator<Item = Val<'v>>,
        decides: bool,
    ) -> Outcome<'v> {
        let mut failed = None;
        for item in items {
            match self.step_holds(of, item) {
                Ok(value) if value == decides => return Ok(Val::Bool(decides)),
                Ok(_) => {}
                Err(EvaluationError::TooMuchWork) => return Err(EvaluationError::TooMuchWork),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Val::Bool(!decides)), Err)
    }

    fn mapped(&mut self, of: &'v Loop, item: Val<'v>) -> Result<Option<Val<'v>>, EvaluationError> {
        self.locals.push(item);
        let wanted = of.guard.as_ref().map_or(Ok(true), |guard| self.truth("map", guard));
        let value = wanted.and_then(|wanted| match wanted {
            true => self.node(&of.step).map(Some),
            false => Ok(None),
        });
        self.locals.pop();
        value
    }

    fn step_holds(&mut self, of: &'v Loop, item: Val<'v>) -> Result<bool, EvaluationError> {
        self.locals.push(item);
        let value = self.truth("a loop", &of.step);
        self.locals.pop();
        value
    }

    /// The JSON of a value, at most `depth` levels of it.
    fn result(&mut self, value: &Val<'v>, depth: usize) -> Result<Value, EvaluationError> {
        self.spend_many(1)?;
        let deeper = || {
            depth.checked_sub(1).ok_or_else(|| {
                let most = json::MAX_DEPTH;
                EvaluationError::Result(format!("the result is nested deeper than {most} levels"))
            })
        };
        Ok(match value {
            Val::Json(Value::Null) => Value::Null,
            Val::Json(Value::Bool(value)) => Value::Bool(*value),
            Val::Json(Value::Number(text)) => {
                self.spend_text(text.len())?;
                Value::Number(text.clone())
            }
            Val::Bool(value) => Value::Bool(*value),
            Val::Number(number) => {
                Value::Number(number.json().map(Into::into).ok_or_else(|| {
                    EvaluationError::Result("the result is no number JSON can hold".to_owned())
                })?)
            }
            Val::Json(Value::Object(map)) => {
                let depth = deeper()?;
                let mut entries = IndexMap::with_capacity(map.len());
                for (key, value) in map {
                    self.spend_text(key.len())?;
                    entries.insert(key.clone(), self.result(&Val::Json(value), depth)?);
                }
                Value::Object(entries)
            }
            Val::Map(map) => {
                let depth = deeper()?;
                let mut entries = IndexMap::with_capacity(map.len());
                for (key, value) in &**map {
                    self.spend_text(key.len())?;
                    entries.insert((**key).to_owned(), self.result(value, depth)?);
                }
                Value::Object(entries)
            }
            Val::Json(Value::String(_)) | Val::Key(_) | Val::Text(_) => {
                let text = value.text().unwrap_or_default();
                self.spend_text(text.len())?;
                Value::from(text)
            }
            Val::Json(Value::Array(_)) | Val::List(_) => {
                let depth = deeper()?;
                let items = value.items().into_iter().flatten();
                Value::Array(items.map(|item| self.result(&item, depth)).collect::<Result<_, _>>()?)
            }
        })
    }
}

fn not(wanted: &str, of: &Node, value: &Val<'_>) -> EvaluationError {
    EvaluationError::Unfit(format!("{} is {}, not {wanted}", of.spelling(), value.kind()))
}

fn not_boolean(sign: &str, value: &Val<'_>) -> EvaluationError {
    EvaluationError::Unfit(format!("`{sign}` takes true or false, not {}", value.kind()))
}
