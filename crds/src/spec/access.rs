//! `spec.access`: internal gRPC clients of a source.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::pattern;

/// An internal gRPC client of this source.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Unique in this source.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// The token the client presents. Whitespace around it does not count.
    pub token_secret_ref: SecretRef,
    /// What the client may do with this source: `Submit` events, `Consume` actions of its queues,
    /// `Read` its log, or `Operate` it, which is everything that changes something.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 4))]
    pub can: Vec<AccessRight>,
}

/// What an internal client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AccessRight {
    /// Submit events.
    Submit,
    /// Take actions from queues.
    Consume,
    /// Read the log.
    Read,
    /// Change something, such as replay and hold.
    Operate,
}
