//! `spec.verification`: who may post, and in which form.
#![expect(unreachable_pub, reason = "KubeSchema repeats every struct inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::{action::ActionName, pattern};

/// Who may post, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.mode) && self.mode == 'Observe' || has(self.secretRefs) && \
        self.secretRefs.size() > 0")
        .message("mode Enforce needs at least one secretRef; name the Secret that holds the \
            signing secret, or set `mode: Observe`")
        .field_path(".secretRefs")
)]
pub struct Verification {
    /// Whether signatures are enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<VerificationMode>,
    /// The live signing secrets; a signature by any of them is right. `Enforce` needs one.
    #[schemars(length(max = 4))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<SecretRef>,
    /// For how long a mismatch is answered 503 instead of 401, after a secret was loaded that has
    /// not verified anything yet. A duration of at most `720h`, such as `4h` (also when absent) or
    /// `1m30s`.
    #[x_kube(
        validation = Rule::new("duration(self) <= duration('720h')")
            .message("must be a duration from 0s to 720h")
    )]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::DURATION))]
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

/// What to do with bodies that are JSON arrays of events.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.policy) || self.policy != 'FirstElement' || \
        has(self.requireHeader)")
        .message("policy FirstElement needs requireHeader, because the signature covers only the \
            first element of a batch"),
    validation = Rule::new("!has(self.requireHeader) || has(self.policy) && self.policy == \
        'FirstElement'")
        .message("requireHeader is only checked with policy FirstElement; set `policy: \
            FirstElement` or remove it")
)]
pub struct Batches {
    /// Which arrays are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<BatchPolicy>,
    /// A header with a secret value that proves who sent the elements which no signature covers.
    /// Only for `FirstElement`, which needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_header: Option<RequireHeader>,
    /// Actions that elements not covered by the signature may not cause. Absent: every delete.
    #[x_kube(merge_strategy = ListMerge::Set)]
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
    /// Name of the header, in any case.
    #[x_kube(
        validation = Rule::new("self.lowerAscii() != 'x-signature'")
            .message("is the header of the signature itself; use another one")
    )]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::HEADER))]
    pub name: String,
    /// The value it must have.
    pub secret_ref: SecretRef,
}
