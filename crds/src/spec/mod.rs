//! The fields of a SegmentSource manifest. Their doc comments are what `kubectl explain` prints.
//! Actions and parameters live in `action.rs`; what the values mean together is `compile`'s.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SegmentSourceStatus, pattern};

mod access;
mod destination;
mod mapping;
mod verification;

pub use access::{Access, AccessRight};
pub use destination::{
    Destination, DirectoryDestination, HttpDestination, HttpFormat, KnockDestination,
    QueueDestination,
};
pub use mapping::{Mapping, Nulls};
pub use verification::{BatchPolicy, Batches, RequireHeader, Verification, VerificationMode};

/// What a source of Segment events needs: how its requests are verified, and which actions its
/// events cause.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "segment-source.dev",
    version = "v1alpha1",
    kind = "SegmentSource",
    plural = "segmentsources",
    shortname = "segsrc",
    namespaced,
    derive = "PartialEq",
    status = "SegmentSourceStatus",
    category = "segment-source",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether all connected replicas run it"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready, or why not"
    ),
    printcolumn(
        name = "Path",
        type_ = "string",
        json_path = ".status.ingestPath",
        description = "Where Segment posts to, on the host of the webhooks"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the manifest is right",
        priority = 1
    ),
    printcolumn(
        name = "Refs",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ResolvedRefs\")].status",
        description = "Whether every Secret it names is there",
        priority = 1
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status",
        description = "Whether all connected replicas run this generation",
        priority = 1
    ),
    printcolumn(
        name = "Suspend",
        type_ = "string",
        json_path = ".spec.suspend",
        description = "What is stopped",
        priority = 1
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.url",
        description = "The whole URL, when the host is known",
        priority = 1
    ),
    doc = "A Segment webhook: how its requests are verified, and which actions its events cause.",
    validation = Rule::new(format!("self.metadata.name.matches('{}') && size(self.metadata.name) \
        <= 63", pattern::LABEL))
        .message("metadata.name must be 1 to 63 lower-case letters, digits and `-`, starting and \
            ending with a letter or digit")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.defaultDestination) || self.defaultDestination in \
        ['default', 'directory'] || has(self.destinations) && self.destinations.exists(it, it.name \
        == self.defaultDestination)")
        .message("no destination has the name of defaultDestination; it must be a name of \
            destinations, `default` or `directory`")
        .field_path(".defaultDestination"),
    validation = Rule::new("!has(self.mappings) || self.mappings.all(one, !has(one.destination) \
        || one.destination in ['default', 'directory'] || has(self.destinations) && \
        self.destinations.exists(it, it.name == one.destination))")
        .message("a mapping names a destination that does not exist; it must be a name of \
            destinations, `default` or `directory`")
        .field_path(".mappings")
)]
pub struct SegmentSourceSpec {
    /// Stops a part of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<Suspend>,
    /// Who may post, and in which form.
    pub verification: Verification,
    /// Path of the event type. Absent: Segment's naming, which is `track/` and the event's name for
    /// track calls, and the call's type for all others.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type_path: Option<String>,
    /// Path of the event's timestamp. Absent: `body.timestamp`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_path: Option<String>,
    /// Values computed once an event, in this order, and read as `preprocess.<name>`.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preprocess: Vec<Preprocess>,
    /// How repeats of an event are found. Absent: by `body.messageId`, for 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// The destination of every mapping that names none. Absent: the queue `default` for
    /// `workflowsTrigger` and `workflowsCancel`, the directory `directory` for all other actions.
    /// These two need no definition; one of the same name takes their place.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_destination: Option<String>,
    /// Where actions can go.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
    /// Which events cause which actions.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    /// Internal gRPC clients of this source, each with a token.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<Access>,
    /// How actions are delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What is kept of an event, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// How many events are accepted; more are answered 429. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// Stops a part of the source. `Intake`: every request is answered 503 (Segment gives up after 4
/// hours). `Delivery`: events are accepted and wait. Absent: nothing is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Suspend {
    /// Requests are answered 503.
    Intake,
    /// Events are accepted and wait.
    Delivery,
}

/// One key of a Secret in the source's namespace.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, KubeSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, which is in the source's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SECRET_NAME))]
    pub name: String,
    /// Key inside the Secret; letters, digits, `-`, `_` and `.`.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SECRET_KEY))]
    pub key: String,
}

/// A value computed once an event.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preprocess {
    /// Read as `preprocess.<name>`; letters, digits and `_`, not starting with a digit.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::IDENTIFIER))]
    pub name: String,
    /// CEL over `body`, `headers` and earlier `preprocess` values. An error leaves the name unset.
    #[schemars(length(min = 1, max = 1024))]
    pub expression: String,
}

/// How repeats of an event are found. Absent: by `body.messageId`, for 24 hours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Idempotency {
    /// Whether repeats are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<IdempotencyMode>,
    /// Path of the key. Absent: `body.messageId`. An event without a valid key is never a repeat.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// For how long a key is remembered after its first event: a duration from `1m` to `720h`.
    /// Absent: `24h`.
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= \
            duration('720h')")
            .message("must be a duration from 1m to 720h")
    )]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}

/// `Enabled` (also when absent), or `Disabled`: every copy is an event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum IdempotencyMode {
    /// They are.
    Enabled,
    /// They are not.
    Disabled,
}

/// How actions are delivered to destinations other than queues; the consumers of a queue decide for
/// themselves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// How long an action is tried, from its first attempt; then it is a dead letter. The time in
    /// which its destination is held does not count. A duration from `1m` to `168h`. Absent: `20h`.
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= \
            duration('168h')")
            .message("must be a duration from 1m to 168h")
    )]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// How many actions are delivered at the same time, to each destination. Absent: 64.
    #[schemars(range(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<i32>,
}

/// What is kept of an event, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How long events are kept, from their acceptance. What is still to be done is kept all the
    /// same. A duration from `1h` to `87600h`. Absent: `720h`.
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1h') && duration(self) <= \
            duration('87600h')")
            .message("must be a duration from 1h to 87600h")
    )]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// How much space the events of this source may take, about; the oldest are removed first. What
    /// is still to be done is kept all the same. A quantity from `1Mi` to `1Pi`. Absent: no limit.
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('1Mi')) >= 0 && \
            quantity(self).compareTo(quantity('1Pi')) <= 0")
            .message("must be a quantity from 1Mi to 1Pi")
    )]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::QUANTITY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Paths inside the body whose values are removed before anything is stored. What reads a
    /// removed value itself is refused; what reads the value around it goes without.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
}

/// How many events are accepted; more are answered 429. Absent: no limit.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Events a second, in the long run.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub events_per_second: i32,
    /// How many may come at once. Absent: as many as in a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<i32>,
}
