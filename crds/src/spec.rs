//! The fields of a SegmentSource manifest. Their doc comments are what `kubectl explain` prints.
//! Actions and parameters live in `action.rs`; what the values mean together is `compile`'s.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    SegmentSourceStatus,
    action::{Action, ActionName},
};

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
    doc = "A Segment webhook: how its requests are verified, and which actions its events cause."
)]
#[serde(rename_all = "camelCase")]
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
    /// The destination of every mapping that names none. Absent: the queue `default`, which needs
    /// no definition.
    #[schemars(length(min = 1, max = 63))]
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

/// Who may post, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Whether signatures are enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<VerificationMode>,
    /// The live signing secrets; a signature by any of them is right. `Enforce` needs one.
    #[schemars(length(max = 4))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<SecretRef>,
    /// For how long a mismatch is answered 503 instead of 401, after a secret was loaded that has
    /// not verified anything yet. A duration such as `4h` (also when absent) or `1m30s`.
    #[schemars(length(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_grace: Option<String>,
    /// What to do with bodies that are JSON arrays of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<Batches>,
}

/// `Enforce` (also when absent): a request without a right signature is refused. `Observe`: every
/// request is accepted, and what verification would have said is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum VerificationMode {
    /// A wrong signature is refused.
    Enforce,
    /// A wrong signature is recorded.
    Observe,
}

/// One key of a Secret in the source's namespace.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, KubeSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key inside the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What to do with bodies that are JSON arrays of events.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.policy) || self.policy != 'FirstElement' || has(self.requireHeader)").message("policy FirstElement needs requireHeader"))]
pub struct Batches {
    /// Which arrays are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<BatchPolicy>,
    /// A header with a secret value that proves who sent the elements which no signature covers.
    /// Only for `FirstElement`, which needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_header: Option<RequireHeader>,
    /// Actions that elements not covered by the signature may not cause. Absent: every delete.
    #[schemars(length(max = 12))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_uncovered: Option<Vec<ActionName>>,
}

/// `Reject` (also when absent): arrays are answered 503. `WholeBody`: the signature must cover the
/// whole array. `FirstElement`: the whole array, or its first element together with the required
/// header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BatchPolicy {
    /// None.
    Reject,
    /// Those signed as a whole.
    WholeBody,
    /// Those signed as a whole, or in their first element and sent with the required header.
    FirstElement,
}

/// A header that must carry a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequireHeader {
    /// Name of the header.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The value it must have.
    pub secret_ref: SecretRef,
}

/// A value computed once an event.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preprocess {
    /// Read as `preprocess.<name>`; letters, digits and `_`, not starting with a digit.
    #[schemars(length(min = 1, max = 63))]
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
    #[schemars(length(min = 1, max = 32))]
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

/// Where actions can go: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.queue), has(self.directory), has(self.knock), has(self.http)].filter(kind, kind).size() == 1").message("exactly one of queue, directory, knock and http must be given"))]
pub struct Destination {
    /// Unique in this source; what mappings refer to.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Actions wait until a gRPC client takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueDestination>,
    /// The built-in directory of users, objects and tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryDestination>,
    /// Knock's HTTP API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knock: Option<KnockDestination>,
    /// Any HTTP endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDestination>,
}

/// A queue has no settings yet: `queue: {}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct QueueDestination {}

/// The directory has no settings yet: `directory: {}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct DirectoryDestination {}

/// Knock's HTTP API.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnockDestination {
    /// The secret API key of a Knock environment.
    pub api_key_secret_ref: SecretRef,
}

/// Any HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpDestination {
    /// Where requests are posted to.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Signs every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<SecretRef>,
    /// What the endpoint gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<HttpFormat>,
}

/// `Action` (also when absent): the rendered action. `Segment`: the event itself, signed as Segment
/// does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum HttpFormat {
    /// The rendered action.
    Action,
    /// The event itself.
    Segment,
}

/// One kind of event and the one action it causes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Unique in this source. It is part of every action's idempotency key: renaming a mapping
    /// makes new actions of it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The event type this mapping is for, such as `identify` or `track/User Signed Up`.
    #[schemars(length(min = 1, max = 1024))]
    pub event_type: String,
    /// CEL; the mapping applies to events for which it is true. Absent: to all of the type. An
    /// error or a missing field counts as false.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Switches the mapping off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// A name of `destinations`. Absent: `defaultDestination`.
    #[schemars(length(min = 1, max = 63))]
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

/// An internal gRPC client of this source.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Unique in this source.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The token the client presents.
    pub token_secret_ref: SecretRef,
    /// What the client may do.
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
    /// Replay and hold.
    Operate,
}

/// How actions are delivered.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// How long an action is tried, from its first attempt. A duration such as `20h`.
    #[schemars(length(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// How many actions are delivered at the same time.
    #[schemars(range(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<i32>,
}

/// What is kept of an event, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How long events are kept. A duration such as `720h`.
    #[schemars(length(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// How much space events may take. A quantity such as `10Gi`.
    #[schemars(length(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Paths inside the body whose values are removed before anything is stored. What reads a
    /// removed value itself is refused; what reads the value around it goes without.
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
