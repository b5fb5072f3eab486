//! From events to actions: what a mapping is, which mappings an event meets, and the payload each
//! of them makes of it. Pure; where payloads go is not known here.
//!
//! `action` names the actions and their order, `field` has the table of their fields, `template`
//! finds values and `write` writes them, `failure` lists what can be wrong.

mod action;
mod failure;
mod field;
mod template;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;

pub use action::{ActionType, UnknownActionType};
pub use failure::{FAILURE_CODES, Failure};
pub use field::{FieldSpec, Kind};
pub use template::{ActionTemplate, Nulls, Parameter, TemplateError};

use crate::{
    event::Document,
    expression::{Expression, Scope},
};

/// A rule: events of this type, for which `when` holds, cause this action.
#[derive(Debug)]
pub struct Mapping {
    /// Unique within a source.
    pub name: String,
    /// Compared with the whole event type.
    pub event_type: String,
    /// A further condition.
    pub when: Option<Expression>,
    /// Name of the destination the action goes to.
    pub destination: String,
    /// What becomes of nulls.
    pub nulls: Nulls,
    /// Kept in the configuration, but never applied.
    pub disabled: bool,
    /// What is done.
    pub action: ActionTemplate,
}

/// The mappings of a source, in the order in which their actions run.
#[derive(Debug, Default)]
pub struct Mappings(Vec<Mapping>);

/// What one mapping made of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'m> {
    /// The mapping's name.
    pub mapping: &'m str,
    /// The mapping's action.
    pub action_type: ActionType,
    /// The mapping's destination.
    pub destination: &'m str,
    /// What came of it.
    pub result: Decision,
}

/// Whether a mapping makes an action of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No: the mapping is for events of another type.
    OtherEventType,
    /// No: the mapping is disabled.
    Disabled,
    /// No: its `when` does not hold; with the reason.
    NotMatched(String),
    /// Yes; the payload.
    Rendered(Bytes),
    /// It should, but cannot.
    Failed(Failure),
}

/// Bytes of all payloads of one event: two copies of the largest event.
const MAX_PAYLOADS: usize = 32 << 20;

impl Decision {
    /// Takes a payload's bytes from what is left; a payload that does not fit is given up.
    fn within(self, left: &mut usize) -> Self {
        let Self::Rendered(payload) = &self else { return self };
        match left.checked_sub(payload.len()) {
            Some(rest) => {
                *left = rest;
                self
            }
            None => Self::Failed(Failure {
                code: failure::TOO_LARGE,
                message: format!(
                    "its payload of {} bytes does not fit: the actions of one event may have \
                     {MAX_PAYLOADS} bytes together; map less of the event",
                    payload.len()
                ),
            }),
        }
    }
}

impl Mapping {
    fn decide(
        &self,
        document: &Document,
        event_type: &str,
        covered: bool,
        deny_uncovered: &[ActionType],
    ) -> Decision {
        if self.event_type != event_type {
            return Decision::OtherEventType;
        }
        if self.disabled {
            return Decision::Disabled;
        }
        let scope = Scope::new(document);
        match self.when.as_ref().map(|when| when.holds(&scope)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => return Decision::NotMatched("`when` is false".to_owned()),
            Some(Err(error)) => {
                return Decision::NotMatched(format!("`when` has no answer: {error}"));
            }
        }
        let action = self.action.action_type();
        if !covered && deny_uncovered.contains(&action) {
            return Decision::Failed(Failure {
                code: failure::NOT_COVERED,
                message: format!("{action} is denied to events that no signature covers"),
            });
        }
        match self.action.render(document, &scope, self.nulls) {
            Ok(payload) => Decision::Rendered(payload),
            Err(failure) => Decision::Failed(failure),
        }
    }
}

impl Mappings {
    /// Puts mappings into the order in which they run: by [`ActionType`], then as given.
    #[must_use]
    pub fn new(mut mappings: Vec<Mapping>) -> Self {
        mappings.sort_by_key(|mapping| mapping.action.action_type());
        Self(mappings)
    }

    /// In the order in which they run.
    pub fn iter(&self) -> std::slice::Iter<'_, Mapping> {
        self.0.iter()
    }

    /// Whether there is a mapping, enabled or not, for this event type. If not, nothing about the
    /// event has to be read to plan it.
    #[must_use]
    pub fn concern(&self, event_type: &str) -> bool {
        self.iter().any(|mapping| mapping.event_type == event_type)
    }

    /// What every mapping makes of an event, in the order in which they run. `covered` says
    /// whether a signature covers the event; where none does, actions of the types in
    /// `deny_uncovered` fail, and so do those with which the event's payloads would be larger than
    /// 32 MiB together: a large event that many mappings copy must not fill memory.
    #[must_use]
    pub fn plan(
        &self,
        document: &Document,
        event_type: &str,
        covered: bool,
        deny_uncovered: &[ActionType],
    ) -> Vec<Outcome<'_>> {
        let mut left = MAX_PAYLOADS;
        self.iter()
            .map(|mapping| Outcome {
                mapping: &mapping.name,
                action_type: mapping.action.action_type(),
                destination: &mapping.destination,
                result: mapping
                    .decide(document, event_type, covered, deny_uncovered)
                    .within(&mut left),
            })
            .collect()
    }
}

impl<'m> IntoIterator for &'m Mappings {
    type Item = &'m Mapping;
    type IntoIter = std::slice::Iter<'m, Mapping>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
