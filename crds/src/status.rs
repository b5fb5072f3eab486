//! What the operator says about a SegmentSource: the status subresource, and the words it is said
//! with. Who decides what to say is the operator's.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

/// What became of the source. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentSourceStatus {
    /// The `metadata.generation` that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the manifest is right. `ResolvedRefs`: every Secret it names is there.
    /// `Programmed`: all connected replicas run it. `Ready`: all of these. `Stalled`: only there
    /// while the manifest is wrong, and true then.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Path that Segment posts to, on the host of the webhooks.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_path: Option<String>,
    /// The whole URL that Segment posts to, when the operator knows the host.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Types of conditions.
pub mod condition {
    /// The manifest is right, so it is what replicas are told to run.
    pub const ACCEPTED: &str = "Accepted";
    /// Every Secret and key that the manifest names is there.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// All connected replicas run this generation.
    pub const PROGRAMMED: &str = "Programmed";
    /// The three above are true.
    pub const READY: &str = "Ready";
    /// True while `Accepted` is false, absent otherwise: tells tools that follow kstatus that
    /// waiting will not help.
    pub const STALLED: &str = "Stalled";
}

/// Reasons of conditions.
pub mod reason {
    /// `Accepted` is true.
    pub const ACCEPTED: &str = "Accepted";
    /// `Accepted` is false: the manifest has mistakes.
    pub const INVALID: &str = "Invalid";
    /// `Accepted` is false: what is stored is no SegmentSource that this operator can read.
    pub const UNREADABLE: &str = "Unreadable";
    /// `ResolvedRefs` is true.
    pub const RESOLVED: &str = "Resolved";
    /// `ResolvedRefs` is false: a Secret or its key is missing or empty.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// `ResolvedRefs` is unknown: the API server does not let the operator read a Secret.
    pub const SECRETS_UNREADABLE: &str = "SecretsUnreadable";
    /// `Programmed` is true.
    pub const PROGRAMMED: &str = "Programmed";
    /// `Programmed` is false: a replica has not answered yet.
    pub const PENDING: &str = "Pending";
    /// `Programmed` is false: no replica is connected.
    pub const NO_REPLICAS: &str = "NoReplicas";
    /// `Programmed` is false: a replica cannot run it.
    pub const REFUSED: &str = "Refused";
    /// `Ready` is true. When it is false it has the reason of the first condition that is not true.
    pub const READY: &str = "Ready";
}
