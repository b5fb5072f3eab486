//! `spec.mappings`: which events cause which actions.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{action::Action, pattern};

/// One kind of event and the one action it causes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Unique in this source. It is part of every action's idempotency key: renaming a mapping
    /// makes new actions of it.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// The event type this mapping is for, such as `identify` or `track/User Signed Up`.
    #[schemars(length(min = 1, max = 1024))]
    pub event_type: String,
    /// CEL; the mapping applies to events for which it is true. Absent: to all of the type. An
    /// error or a missing field counts as false.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// True switches the mapping off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// A name of `destinations`, or `default` or `directory`. Absent: `defaultDestination`.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What becomes of nulls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nulls: Option<Nulls>,
    /// What to do: exactly one action.
    pub action: Action,
}

/// What becomes of an optional field that resolves to null: `Omit` (also when absent) or `Send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Nulls {
    /// The field is left out.
    Omit,
    /// The field is sent as null.
    Send,
}
