//! The functions, apart from `has`, `matches` and the loops, which are nodes of their own.

use super::{EvaluationError, evaluate::Evaluation, number::Number, value::Val};
use crate::json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    UInt,
    Double,
    String,
    Bool,
}

/// Name, whether it is called on a value, as a function of its own, and with how many arguments
/// after that value.
const FUNCTIONS: [(&str, Function, &[Style]); 9] = [
    ("size", Function::Size, &[Style::Global(1), Style::Member(0)]),
    ("contains", Function::Contains, &[Style::Member(1)]),
    ("startsWith", Function::StartsWith, &[Style::Member(1)]),
    ("endsWith", Function::EndsWith, &[Style::Member(1)]),
    ("int", Function::Int, &[Style::Global(1)]),
    ("uint", Function::UInt, &[Style::Global(1)]),
    ("double", Function::Double, &[Style::Global(1)]),
    ("string", Function::String, &[Style::Global(1)]),
    ("bool", Function::Bool, &[Style::Global(1)]),
];

/// How a function is called, and with how many arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Global(usize),
    Member(usize),
}

impl Function {
    pub(super) fn global(name: &str, arguments: usize) -> Result<Self, String> {
        Self::find(name, Style::Global(arguments))
    }

    pub(super) fn member(name: &str, arguments: usize) -> Result<Self, String> {
        Self::find(name, Style::Member(arguments))
    }

    fn find(name: &str, style: Style) -> Result<Self, String> {
        match FUNCTIONS.iter().find(|(known, ..)| *known == name) {
            Some((_, function, styles)) if styles.contains(&style) => Ok(*function),
            Some((_, _, [Style::Member(_)])) => {
                Err(format!("`{name}` is written text.{name}(\"other\")"))
            }
            Some(_) => Err(format!("`{name}` is written {name}(value)")),
            None if ["has", "matches"].contains(&name) => {
                Err(format!("`{name}` takes another number of arguments"))
            }
            None => Err(format!(
                "there is no function `{name}`; there are has, size, contains, startsWith, \
                 endsWith, matches, int, uint, double, string, bool, all, exists, exists_one, \
                 map and filter"
            )),
        }
    }

    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, _)| *function == self).map_or("", |(name, ..)| name)
    }

    fn unfit(self, of: &Val<'_>) -> EvaluationError {
        EvaluationError::Unfit(format!("`{}` does not take {}", self.name(), of.kind()))
    }

    fn unreadable(self) -> EvaluationError {
        EvaluationError::Unfit(format!("`{}` cannot make one of this value", self.name()))
    }
}

impl<'v> Evaluation<'v> {
    pub(super) fn function(
        &mut self,
        function: Function,
        of: &Val<'v>,
        other: Option<&Val<'v>>,
    ) -> Result<Val<'v>, EvaluationError> {
        match function {
            Function::Size => self.size(of),
            Function::Contains => {
                self.search(function, of, other, |text, part| text.contains(part))
            }
            Function::StartsWith => {
                self.search(function, of, other, |text, part| text.starts_with(part))
            }
            Function::EndsWith => {
                self.search(function, of, other, |text, part| text.ends_with(part))
            }
            Function::Int => {
                self.integer(of, function, |integer| i64::try_from(integer).ok().map(Number::Int))
            }
            Function::UInt => {
                self.integer(of, function, |integer| u64::try_from(integer).ok().map(Number::UInt))
            }
            Function::Double => self.double(of),
            Function::String => self.string(of),
            Function::Bool => boolean(of),
        }
    }

    /// Characters of a string, elements of a list, entries of an object.
    fn size(&mut self, of: &Val<'v>) -> Result<Val<'v>, EvaluationError> {
        let size = match (of.text(), of.len()) {
            (Some(text), _) => {
                self.spend_text(text.len())?;
                text.chars().count()
            }
            (None, Some(length)) => length,
            (None, None) => return Err(Function::Size.unfit(of)),
        };
        Ok(Val::Number(Number::Int(i64::try_from(size).unwrap_or(i64::MAX))))
    }

    fn search(
        &mut self,
        function: Function,
        of: &Val<'v>,
        part: Option<&Val<'v>>,
        found: fn(&str, &str) -> bool,
    ) -> Result<Val<'v>, EvaluationError> {
        let text = of.text().ok_or_else(|| function.unfit(of))?;
        let part = part.unwrap_or(of);
        let part = part.text().ok_or_else(|| function.unfit(part))?;
        self.spend_text(text.len() + part.len())?;
        Ok(Val::Bool(found(text, part)))
    }

    /// A number of the event becomes the text it was sent with.
    fn string(&mut self, of: &Val<'v>) -> Result<Val<'v>, EvaluationError> {
        let text = match of {
            Val::Json(Value::Number(text)) => {
                self.spend_text(text.len())?;
                text.to_string()
            }
            Val::Number(number) => number.json().ok_or_else(|| Function::String.unreadable())?,
            of if of.text().is_some() => return Ok(of.clone()),
            of => of.boolean().ok_or_else(|| Function::String.unfit(of))?.to_string(),
        };
        Ok(Val::Text(text.into()))
    }

    fn integer(
        &mut self,
        of: &Val<'v>,
        function: Function,
        fit: fn(i128) -> Option<Number>,
    ) -> Result<Val<'v>, EvaluationError> {
        self.spend_many(of.text().map_or(0, str::len) / 16)?;
        let integer = match (of.text(), self.number(of)?) {
            (Some(text), _) => text.parse().ok(),
            (None, Some(number)) => number.integer(),
            (None, None) => return Err(function.unfit(of)),
        };
        integer.and_then(fit).map(Val::Number).ok_or_else(|| function.unreadable())
    }

    fn double(&mut self, of: &Val<'v>) -> Result<Val<'v>, EvaluationError> {
        self.spend_many(of.text().map_or(0, str::len) / 16)?;
        let double = match (of.text(), self.number(of)?) {
            (Some(text), _) => text.parse().ok().filter(|double: &f64| double.is_finite()),
            (None, Some(number)) => Some(number.double()),
            (None, None) => return Err(Function::Double.unfit(of)),
        };
        double
            .map(|double| Val::Number(Number::Double(double)))
            .ok_or_else(|| Function::Double.unreadable())
    }
}

fn boolean<'v>(of: &Val<'v>) -> Result<Val<'v>, EvaluationError> {
    match (of.text(), of.boolean()) {
        (Some("true"), _) => Ok(Val::Bool(true)),
        (Some("false"), _) => Ok(Val::Bool(false)),
        (Some(_), _) => Err(Function::Bool.unreadable()),
        (None, Some(value)) => Ok(Val::Bool(value)),
        (None, None) => Err(Function::Bool.unfit(of)),
    }
}
