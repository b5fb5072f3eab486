//! Which Secrets a manifest names, without their values.

use crate::{SecretRef, SegmentSourceSpec};

/// Every key of a Secret that the spec names, each once, in the order of the fields. What the
/// compiler looks up is always among them.
#[must_use]
pub fn references(spec: &SegmentSourceSpec) -> Vec<SecretRef> {
    let verification = &spec.verification;
    let header = verification.batches.as_ref().and_then(|it| it.require_header.as_ref());
    let knock = spec.destinations.iter().filter_map(|it| it.knock.as_ref());
    let http = spec.destinations.iter().filter_map(|it| it.http.as_ref());
    let all = (verification.secret_refs.iter())
        .chain(header.map(|it| &it.secret_ref))
        .chain(knock.map(|it| &it.api_key_secret_ref))
        .chain(http.filter_map(|it| it.signing_secret_ref.as_ref()))
        .chain(spec.access.iter().map(|it| &it.token_secret_ref));
    let mut found: Vec<SecretRef> = Vec::new();
    for reference in all {
        if !found.contains(reference) {
            found.push(reference.clone());
        }
    }
    found
}
