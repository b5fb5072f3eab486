//! The operators that take two values.

use std::{cmp::Ordering, rc::Rc};

use cel::common::ast::operators;

use super::{EvaluationError, evaluate::Evaluation, number::Arithmetic, value::Val};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Arithmetic(Arithmetic),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Binary {
    /// By the parser's name for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            operators::ADD => Self::Arithmetic(Arithmetic::Add),
            operators::SUBSTRACT => Self::Arithmetic(Arithmetic::Subtract),
            operators::MULTIPLY => Self::Arithmetic(Arithmetic::Multiply),
            operators::DIVIDE => Self::Arithmetic(Arithmetic::Divide),
            operators::MODULO => Self::Arithmetic(Arithmetic::Remainder),
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            operators::IN => Self::In,
            _ => return None,
        })
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Arithmetic(Arithmetic::Add) => "+",
            Self::Arithmetic(Arithmetic::Subtract) => "-",
            Self::Arithmetic(Arithmetic::Multiply) => "*",
            Self::Arithmetic(Arithmetic::Divide) => "/",
            Self::Arithmetic(Arithmetic::Remainder) => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    fn unfit(self, left: &Val<'_>, right: &Val<'_>) -> EvaluationError {
        let (sign, left, right) = (self.sign(), left.kind(), right.kind());
        EvaluationError::Unfit(format!("`{sign}` does not take {left} and {right}"))
    }
}

impl<'v> Evaluation<'v> {
    pub(super) fn binary(
        &mut self,
        operator: Binary,
        left: &Val<'v>,
        right: &Val<'v>,
    ) -> Result<Val<'v>, EvaluationError> {
        let mut order = |wanted: fn(Ordering) -> bool| {
            let order = self.order(left, right)?.ok_or_else(|| operator.unfit(left, right))?;
            Ok(Val::Bool(order.is_some_and(wanted)))
        };
        match operator {
            Binary::Equal => self.equal(left, right).map(Val::Bool),
            Binary::NotEqual => self.equal(left, right).map(|equal| Val::Bool(!equal)),
            Binary::Less => order(Ordering::is_lt),
            Binary::LessOrEqual => order(Ordering::is_le),
            Binary::Greater => order(Ordering::is_gt),
            Binary::GreaterOrEqual => order(Ordering::is_ge),
            Binary::In => self.contained(left, right).map(Val::Bool),
            Binary::Arithmetic(by) => match (self.number(left)?, self.number(right)?) {
                (Some(left), Some(right)) => left.combined(by, right).map(Val::Number),
                _ if by == Arithmetic::Add => self.joined(left, right),
                _ => Err(operator.unfit(left, right)),
            },
        }
    }

    /// `+` of two strings or two lists.
    fn joined(&mut self, left: &Val<'v>, right: &Val<'v>) -> Result<Val<'v>, EvaluationError> {
        if let (Some(left), Some(right)) = (left.text(), right.text()) {
            self.spend_text(left.len() + right.len())?;
            return Ok(Val::Text(Rc::from(format!("{left}{right}"))));
        }
        if left.is_list() && right.is_list() {
            self.spend_many(left.len().unwrap_or(0) + right.len().unwrap_or(0))?;
            let items = left.items().into_iter().chain(right.items()).flatten();
            return Ok(Val::List(Rc::new(items.collect())));
        }
        Err(Binary::Arithmetic(Arithmetic::Add).unfit(left, right))
    }

    fn contained(&mut self, item: &Val<'v>, of: &Val<'v>) -> Result<bool, EvaluationError> {
        if of.is_map() {
            let Some(key) = item.text() else { return Ok(false) };
            self.spend_many(key.len() / 16)?;
            return Ok(of.get(key).is_some());
        }
        let Some(items) = of.items() else { return Err(Binary::In.unfit(item, of)) };
        for candidate in items {
            if self.equal(item, &candidate)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Numbers by value, lists and objects by what they hold; different kinds are never equal.
    fn equal(&mut self, left: &Val<'v>, right: &Val<'v>) -> Result<bool, EvaluationError> {
        self.spend_many(1)?;
        if let (Some(left), Some(right)) = (left.text(), right.text()) {
            self.spend_text(if left.len() == right.len() { left.len() } else { 0 })?;
            return Ok(left == right);
        }
        if let (Some(left), Some(right)) = (self.number(left)?, self.number(right)?) {
            return Ok(left.compared(right) == Some(Ordering::Equal));
        }
        if let (Some(left), Some(right)) = (left.boolean(), right.boolean()) {
            return Ok(left == right);
        }
        let same_kind = (left.is_list() && right.is_list()) || (left.is_map() && right.is_map());
        let (Some(items), true) = (left.items(), same_kind && left.len() == right.len()) else {
            return Ok(left.is_null() && right.is_null());
        };
        for (at, item) in items.enumerate() {
            let (one, other) = match item.text() {
                Some(key) if left.is_map() => (left.get(key), right.get(key)),
                _ => (Some(item), right.at(at)),
            };
            match (one, other) {
                (Some(one), Some(other)) if self.equal(&one, &other)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// `None`: they have no order. `Some(None)`: one is NaN, every comparison is false.
    fn order(
        &mut self,
        left: &Val<'v>,
        right: &Val<'v>,
    ) -> Result<Option<Option<Ordering>>, EvaluationError> {
        if let (Some(left), Some(right)) = (self.number(left)?, self.number(right)?) {
            return Ok(Some(left.compared(right)));
        }
        if let (Some(left), Some(right)) = (left.text(), right.text()) {
            self.spend_many(left.len().min(right.len()) / 16)?;
            return Ok(Some(Some(left.cmp(right))));
        }
        let booleans = left.boolean().zip(right.boolean());
        Ok(booleans.map(|(left, right)| Some(left.cmp(&right))))
    }
}
