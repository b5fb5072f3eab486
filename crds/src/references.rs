//! Which Secrets a manifest names, without their values.

use crate::{SecretRef, SegmentSourceSpec};

/// Every key of a Secret that the spec names, each once, in the order of the fields. What the
/// compiler looks up is always among them.
#[must_use]
pub fn references(spec: &SegmentSourceSpec) -> Vec<SecretRef> {
    let verification = &spec.verification;
    let header = verification.batches.as_ref().and_then(|it| it.require_header.as_ref());
    let destinations = spec.destinations.iter().flat_map(|it| {
        let knock = it.knock.as_ref().map(|it| &it.api_key_secret_ref);
        let http = it.http.as_ref().and_then(|it| it.signing_secret_ref.as_ref());
        knock.into_iter().chain(http)
    });
    let all = (verification.secret_refs.iter())
        .chain(header.map(|it| &it.secret_ref))
        .chain(destinations)
        .chain(spec.access.iter().map(|it| &it.token_secret_ref));
    let mut found: Vec<SecretRef> = Vec::new();
    for reference in all {
        if !found.contains(reference) {
            found.push(reference.clone());
        }
    }
    found
}
