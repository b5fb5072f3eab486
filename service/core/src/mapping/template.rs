//! One action before it meets an event: which field takes its value from where. Rendering it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    action::ActionType,
    failure::{EXPRESSION_ERROR, Failure, MISSING_FIELD},
    field::{FieldSpec, Kind},
    write::{self, Problem},
};
use crate::{
    event::{Document, words::what_is},
    expression::{Expression, Scope},
    json::Value,
    path::Path,
};

/// Where a field's value comes from.
#[derive(Debug)]
pub enum Parameter {
    /// From the event; numbers keep their text.
    Path(Path),
    /// Always the same.
    Value(Value),
    /// Computed from the event.
    Expression(Expression),
}

/// What becomes of an optional field whose value is `null`, and of entries of `properties` that
/// are. Nulls further inside a value are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// It is left out.
    #[default]
    Omit,
    /// It is sent as `null`, which clears what the destination knows.
    Send,
}

/// An action and its fields, checked against each other. Cannot be invalid.
#[derive(Debug)]
pub struct ActionTemplate {
    action: ActionType,
    /// In the order of [`ActionType::fields`].
    slots: Box<[Slot]>,
}

#[derive(Debug)]
struct Slot {
    spec: &'static FieldSpec,
    parameter: Parameter,
}

/// Why fields do not make an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The action has no such field.
    #[error("{field}: {action} has no such field; it has: {known}", known = known(*action))]
    UnknownField {
        /// As it was given.
        field: String,
        /// The action.
        action: ActionType,
    },
    /// The field is given twice.
    #[error("{field}: given twice")]
    RepeatedField {
        /// Which.
        field: &'static str,
    },
    /// A required field is not given.
    #[error("{field}: {action} needs it")]
    MissingField {
        /// Which.
        field: &'static str,
        /// The action.
        action: ActionType,
    },
    /// A literal value that would fail for every event.
    #[error("{message}")]
    Literal {
        /// Which.
        field: &'static str,
        /// Names the field too.
        message: String,
    },
}

impl ActionTemplate {
    /// Checks fields, by their names in [`ActionType::fields`] and in any order, against the action.
    ///
    /// # Errors
    /// At the first field that is unknown, repeated, missing, or a literal of the wrong kind.
    pub fn new(
        action: ActionType,
        fields: Vec<(String, Parameter)>,
    ) -> Result<Self, TemplateError> {
        let specs = action.fields();
        let mut given: Vec<Option<Parameter>> = specs.iter().map(|_| None).collect();
        for (field, parameter) in fields {
            let Some(at) = specs.iter().position(|spec| spec.name == field) else {
                return Err(TemplateError::UnknownField { field, action });
            };
            if given[at].replace(parameter).is_some() {
                return Err(TemplateError::RepeatedField { field: specs[at].name });
            }
        }
        let mut slots = Vec::with_capacity(specs.len());
        for (spec, parameter) in specs.iter().zip(given) {
            match parameter {
                Some(parameter) => slots.push(Slot { spec, parameter }.checked()?),
                None if spec.required => {
                    return Err(TemplateError::MissingField { field: spec.name, action });
                }
                None => {}
            }
        }
        Ok(Self { action, slots: slots.into() })
    }

    /// What it does.
    #[must_use]
    pub fn action_type(&self) -> ActionType {
        self.action
    }

    /// The payload for an event: one JSON object, fields in table order, then flattened
    /// properties in the order of the event. The same event always gives the same bytes.
    pub(super) fn render(
        &self,
        document: &Document,
        scope: &Scope<'_>,
        nulls: Nulls,
    ) -> Result<Bytes, Failure> {
        let mut tenant = None;
        if let Some(slot) = self.slots.iter().find(|slot| slot.spec.kind == Kind::MemberTenant)
            && let Some(value) = slot.value(document, scope, nulls)?
        {
            slot.write(tenant.insert(String::new()), &value, None)?;
        }
        let mut out = String::from("{");
        for slot in self.slots.iter().filter(|slot| slot.spec.kind != Kind::MemberTenant) {
            let Some(value) = slot.value(document, scope, nulls)? else { continue };
            if slot.spec.kind == Kind::Properties {
                self.flatten(&mut out, slot, &value, nulls)?;
            } else {
                write::key(&mut out, slot.spec.name);
                slot.write(&mut out, &value, tenant.as_deref())?;
            }
        }
        out.push('}');
        Ok(out.into())
    }

    /// Appends the entries of `properties`. What the mapping has as a field of its own stays as
    /// the field says, also when the field was left out; so ids are never replaced.
    fn flatten(
        &self,
        out: &mut String,
        slot: &Slot,
        value: &Value,
        nulls: Nulls,
    ) -> Result<(), Failure> {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => return Ok(()),
            other => return slot.write(&mut String::new(), other, None),
        };
        for (name, value) in map {
            let own = self
                .slots
                .iter()
                .any(|slot| slot.spec.kind != Kind::Properties && slot.spec.name == name);
            if own || (value.is_null() && nulls == Nulls::Omit) {
                continue;
            }
            write::property(out, name, value);
        }
        Ok(())
    }
}

impl Slot {
    /// The value for an event, unless there is none to send.
    fn value<'a>(
        &'a self,
        document: &'a Document,
        scope: &Scope<'_>,
        nulls: Nulls,
    ) -> Result<Option<Cow<'a, Value>>, Failure> {
        let found = match &self.parameter {
            Parameter::Path(path) => path.resolve(document),
            Parameter::Value(value) => Some(Cow::Borrowed(value)),
            Parameter::Expression(expression) => match expression.evaluate(scope) {
                Ok(value) => Some(Cow::Owned(value)),
                Err(error) => {
                    let what = format!("the expression has no value: {error}");
                    return Err(self.failure(EXPRESSION_ERROR, &what));
                }
            },
        };
        match found.as_deref() {
            Some(value) if !self.spec.kind.is_no_value(value) => Ok(found),
            none if self.needs_value() => {
                let what = format!("{} {}", self.source(), what_is(none));
                Err(self.failure(MISSING_FIELD, &what))
            }
            Some(Value::Null) if nulls == Nulls::Send => Ok(found),
            _ => Ok(None),
        }
    }

    fn write(&self, out: &mut String, value: &Value, tenant: Option<&str>) -> Result<(), Failure> {
        if value.is_null() {
            out.push_str("null");
            return Ok(());
        }
        write::write(out, self.spec.kind, value, tenant).map_err(|problem| {
            let Problem { code, place, what } = problem;
            self.failure(code, &format!("{}{place} {what}", self.source()))
        })
    }

    /// See [`Kind::References`].
    fn needs_value(&self) -> bool {
        self.spec.required || self.spec.kind == Kind::References
    }

    /// How messages call the place the value comes from.
    fn source(&self) -> Cow<'static, str> {
        match &self.parameter {
            Parameter::Path(path) => path.to_string().into(),
            Parameter::Value(_) => "the value".into(),
            Parameter::Expression(_) => "the expression's result".into(),
        }
    }

    fn failure(&self, code: &'static str, what: &str) -> Failure {
        Failure { code, message: format!("{}: {what}", self.spec.name) }
    }

    /// A literal that would fail for every event is refused at once.
    fn checked(self) -> Result<Self, TemplateError> {
        let Parameter::Value(value) = &self.parameter else { return Ok(self) };
        let fits = if !self.spec.kind.is_no_value(value) {
            self.write(&mut String::new(), value, None)
        } else if self.needs_value() {
            Err(self.failure(MISSING_FIELD, &format!("the value {}", what_is(Some(value)))))
        } else {
            Ok(())
        };
        match fits {
            Ok(()) => Ok(self),
            Err(Failure { message, .. }) => {
                Err(TemplateError::Literal { field: self.spec.name, message })
            }
        }
    }
}

fn known(action: ActionType) -> String {
    let names: Vec<_> = action.fields().iter().map(|spec| spec.name).collect();
    names.join(", ")
}
