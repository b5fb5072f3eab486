//! What replicas are told when they cannot be served.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const DOMAIN: &str = "segment-source.dev";

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// Another replica of the operator leads.
pub(super) fn not_leading() -> Status {
    status(
        Code::Unavailable,
        "NOT_LEADING",
        "this replica of the operator does not lead; try another address",
    )
}

/// It leads, and has not read all names yet.
pub(super) fn not_ready() -> Status {
    status(
        Code::Unavailable,
        "NOT_READY",
        "the operator has not read all sources yet; try again in a moment",
    )
}

/// It ends.
pub(super) fn draining() -> Status {
    status(
        Code::Unavailable,
        "DRAINING",
        "this replica of the operator ends; another one takes over, try its address",
    )
}

/// The replica reads too slowly.
pub(super) fn behind() -> Status {
    status(
        Code::Unavailable,
        "BEHIND",
        "too much changed since the replica last read; it must connect again",
    )
}

/// The replica does not keep to the protocol.
pub(super) fn invalid(message: impl Into<String>) -> Status {
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

/// The certificate has not the role that is asked for.
pub(super) fn role_denied(role: &str, roles: &str) -> Status {
    let message = format!(
        "the client certificate has no role `{role}` (it has: {roles}); a certificate has the \
         roles of its DNS names ROLE.segment-source.internal"
    );
    status(Code::PermissionDenied, "ROLE_NOT_GRANTED", message)
}
