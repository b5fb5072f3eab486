//! What replicas are told when they cannot be served.

use std::collections::HashMap;

use segment_source_rpc::problem::{DOMAIN, unavailable};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(super) use segment_source_rpc::problem::invalid;

/// Another replica of the operator leads.
pub(super) fn not_leading() -> Status {
    unavailable("NOT_LEADING", "this replica of the operator does not lead; try another address")
}

/// It leads, and has not read all names yet.
pub(super) fn not_ready() -> Status {
    unavailable("NOT_READY", "the operator has not read all sources yet; try again in a moment")
}

/// It ends.
pub(super) fn draining() -> Status {
    unavailable(
        "DRAINING",
        "this replica of the operator ends; another one takes over, try its address",
    )
}

/// The replica reads too slowly.
pub(super) fn behind() -> Status {
    unavailable("BEHIND", "too much changed since the replica last read; it must connect again")
}

/// The certificate has not the role that is asked for.
pub(super) fn role_denied(role: &str, roles: &str) -> Status {
    let message = format!(
        "the client certificate has no role `{role}` (it has: {roles}); a certificate has the \
         roles of its DNS names ROLE.segment-source.internal"
    );
    let details = ErrorDetails::with_error_info("ROLE_NOT_GRANTED", DOMAIN, HashMap::new());
    Status::with_error_details(Code::PermissionDenied, message, details)
}
