//! `spec.destinations`: where actions can go.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::pattern;

/// Where actions can go: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.queue), has(self.directory), has(self.knock), \
        has(self.http)].filter(kind, kind).size() == 1")
        .message("exactly one of queue, directory, knock and http must be given")
)]
pub struct Destination {
    /// Unique in this source; what mappings refer to.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// Actions wait until a gRPC client takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueDestination>,
    /// The built-in directory of users, objects and tenants, which clients read over gRPC. Workflow
    /// actions cannot go there.
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
    /// The secret API key of a Knock environment. Whitespace around it does not count. While the
    /// Secret is missing, the actions of this destination wait.
    pub api_key_secret_ref: SecretRef,
    /// Where the API is, for a proxy or a stub: `https://` or `http://`, a host, and perhaps a port
    /// and a path; no slash at the end, no query. Absent: `https://api.knock.app/v1`.
    #[schemars(length(min = 1, max = 512), regex(pattern = pattern::BASE_URL))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// Any HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpDestination {
    /// Where requests are posted to: `https://` or `http://`, no user name, no fragment. Redirects
    /// are not followed. Private addresses must be allowed by whoever runs the program
    /// (`--allow-destination`).
    #[schemars(length(min = 1, max = 2048), regex(pattern = pattern::URL))]
    pub url: String,
    /// Signs every request; several secrets on lines of their own all sign, while they are rotated.
    /// While the Secret is missing, the actions of this destination wait. Absent: nothing is signed.
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
