//! The edge's part of the configuration.

use bytes::Bytes;
use segment_source_proto::config::v1::{
    self as wire,
    verification::{BatchPolicy as WirePolicy, Mode},
};

use super::Compiler;
use crate::{
    BatchPolicy, Batches, RateLimit, SegmentSourceSpec, Suspend, VerificationMode,
    pattern::NO_HEADER,
};

const BATCHES: &str = "spec.verification.batches";
const SECRETS: &str = "spec.verification.secretRefs";

impl Compiler<'_> {
    pub(super) fn verification(&mut self, spec: &SegmentSourceSpec) -> wire::Verification {
        let verification = &spec.verification;
        let mode = match verification.mode {
            None | Some(VerificationMode::Enforce) => Mode::Enforce,
            Some(VerificationMode::Observe) => Mode::Observe,
        };
        let references = &verification.secret_refs;
        if mode == Mode::Enforce && references.is_empty() {
            let advice = "name the Secret that holds the signing secret, or set `mode: Observe`";
            self.problem(SECRETS, format!("mode Enforce needs at least one; {advice}"));
        }
        let mut secrets = Vec::new();
        for (at, reference) in references.iter().enumerate() {
            let value = self.secret(&format!("{SECRETS}[{at}]"), reference);
            secrets.extend(value.map(|value| wire::SecretValue { value: value.into() }));
        }
        let grace = verification.rotation_grace.as_deref();
        let rotation_grace_ms =
            self.duration("spec.verification.rotationGrace", grace, "4h", ["0s", "720h"]);
        let batches = verification.batches.clone().unwrap_or_default();
        let (batch_policy, required_header) = self.batches(&batches);
        wire::Verification {
            mode: mode.into(),
            secrets,
            rotation_grace_ms,
            batch_policy: batch_policy.into(),
            required_header,
            intake_suspended: spec.suspend == Some(Suspend::Intake),
            rate_limit: spec.rate_limit.as_ref().map(rate_limit),
            unresolved: self.unresolved.iter().map(ToString::to_string).collect(),
        }
    }

    fn batches(&mut self, batches: &Batches) -> (WirePolicy, Option<wire::RequiredHeader>) {
        let header = batches.require_header.as_ref();
        let policy = match batches.policy {
            None | Some(BatchPolicy::Reject) => WirePolicy::Reject,
            Some(BatchPolicy::WholeBody) => WirePolicy::WholeBody,
            Some(BatchPolicy::FirstElement) => WirePolicy::FirstElement,
        };
        let field = format!("{BATCHES}.requireHeader");
        match (policy, header) {
            (WirePolicy::FirstElement, None) => {
                let reason = "the signature covers only the first element of a batch";
                let message = format!("is missing; policy FirstElement needs it, because {reason}");
                self.problem(&field, message);
            }
            (WirePolicy::FirstElement, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                let advice = "set `policy: FirstElement` or remove it";
                self.problem(&field, format!("is only checked with policy FirstElement; {advice}"));
            }
        }
        let required = header.map(|header| {
            self.header_name(&format!("{field}.name"), &header.name);
            let value = self.secret(&format!("{field}.secretRef"), &header.secret_ref);
            wire::RequiredHeader {
                name: header.name.to_ascii_lowercase(),
                value: Some(wire::SecretValue { value: Bytes::from(value.unwrap_or_default()) }),
            }
        });
        (policy, required)
    }

    fn header_name(&mut self, field: &str, name: &str) {
        // A token of RFC 9110, section 5.6.2.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !name.bytes().all(token) {
            self.problem(field, NO_HEADER);
        } else if name.eq_ignore_ascii_case("x-signature") {
            self.problem(field, "is the header of the signature itself; use another one");
        }
    }
}

fn rate_limit(limit: &RateLimit) -> wire::RateLimit {
    // The schema allows no less than 1.
    let positive = |value: i32| u32::try_from(value).unwrap_or_default();
    wire::RateLimit {
        events_per_second: positive(limit.events_per_second),
        burst: positive(limit.burst.unwrap_or(limit.events_per_second)),
    }
}
