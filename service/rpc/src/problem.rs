//! gRPC errors: every one carries a google.rpc ErrorInfo with this project's domain and a reason in
//! capitals from a fixed set, and what else helps a client to react. A message says what is wrong
//! and what to do.

use std::{collections::HashMap, time::Duration};

use segment_source_core::source::SourceId;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::Right;

/// The domain of every reason.
const DOMAIN: &str = "segment-source.dev";

/// When asking again makes sense for what heals by itself.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

/// INVALID_ARGUMENT: one field of the request is wrong; `description` says what it should be.
#[must_use]
pub fn invalid(field: &str, description: impl Into<String>) -> Status {
    let description = description.into();
    let message = format!("{field}: {description}");
    let mut details = details("INVALID_ARGUMENT");
    details.set_bad_request(vec![FieldViolation::new(field, description)]);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// NOT_FOUND: `kind` is the resource's, such as `Event`.
#[must_use]
pub fn not_found(reason: &str, kind: &str, name: &str, message: &str) -> Status {
    let mut details = details(reason);
    details.set_resource_info(format!("{DOMAIN}/{kind}"), name, "", message);
    Status::with_error_details(Code::NotFound, message, details)
}

/// FAILED_PRECONDITION: things are not as the request says they are; nothing was changed.
#[must_use]
pub fn precondition(reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(Code::FailedPrecondition, message.into(), details(reason))
}

/// OUT_OF_RANGE: the request goes on from where there is nothing.
#[must_use]
pub fn out_of_range(reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(Code::OutOfRange, message.into(), details(reason))
}

/// UNAVAILABLE: the same call will work again.
#[must_use]
pub fn unavailable(reason: &str, message: impl Into<String>) -> Status {
    retriable(Code::Unavailable, reason, message.into())
}

/// RESOURCE_EXHAUSTED: the same call will work again once there is room.
#[must_use]
pub fn exhausted(reason: &str, message: impl Into<String>) -> Status {
    retriable(Code::ResourceExhausted, reason, message.into())
}

/// UNAVAILABLE: the process is shutting down; another one or a later call will do.
#[must_use]
pub fn draining() -> Status {
    unavailable("DRAINING", "the process is shutting down; connect again")
}

/// INTERNAL: a fault of ours.
#[must_use]
pub fn internal(message: &str) -> Status {
    Status::with_error_details(Code::Internal, message, details("INTERNAL"))
}

fn retriable(code: Code, reason: &str, message: String) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(code, message, details)
}

/// UNAUTHENTICATED: nothing says who is calling.
#[must_use]
pub fn token_missing() -> Status {
    unauthenticated(
        "TOKEN_MISSING",
        "this call needs a token; send `authorization: Bearer <token>` with an access token of the \
         source or the platform token",
    )
}

/// UNAUTHENTICATED: the token that was presented is nobody's (any more).
#[must_use]
pub fn token_unknown() -> Status {
    unauthenticated(
        "TOKEN_UNKNOWN",
        "the token is not known here: it was mistyped, rotated or removed, or the source that \
         grants it is not loaded; compare it with the Secret that the source's `access` names",
    )
}

/// UNAUTHENTICATED: the header cannot be understood.
#[must_use]
pub fn token_malformed() -> Status {
    unauthenticated(
        "TOKEN_MALFORMED",
        "the authorization header is wrong; send exactly one, as `authorization: Bearer <token>`",
    )
}

/// UNAUTHENTICATED: there is a certificate, but of no role that may call. `roles` are its own.
#[must_use]
pub fn role_missing(roles: &str) -> Status {
    let message = format!(
        "a certificate for {roles} may not call this by itself; send a token as `authorization: \
         Bearer <token>`, or use the certificate of the edge"
    );
    unauthenticated("ROLE_MISSING", &message)
}

fn unauthenticated(reason: &str, message: &str) -> Status {
    Status::with_error_details(Code::Unauthenticated, message, details(reason))
}

/// PERMISSION_DENIED: a client lacks a right. Says the same whether or not there is such a source.
#[must_use]
pub fn denied(right: Right, source: Option<&SourceId>) -> Status {
    let name = right.name();
    let message = match source {
        Some(source) => format!(
            "this token does not grant {name} on source {source}; add {name} to `can` of its entry \
             under `access` of that source, or use another token"
        ),
        None => format!(
            "this token does not grant {name} there; add {name} to `can` of its entry under \
             `access` of the source, or use another token"
        ),
    };
    permission_denied(right, source, &message)
}

/// PERMISSION_DENIED: the edge asks for more than its part.
#[must_use]
pub fn denied_to_edge(right: Right, source: Option<&SourceId>) -> Status {
    let name = right.name();
    let message = format!(
        "the edge's certificate only submits events; for {name} send a token as `authorization: \
         Bearer <token>`"
    );
    permission_denied(right, source, &message)
}

/// PERMISSION_DENIED: a certificate has not the role that a call needs. `roles` are its own.
#[must_use]
pub fn role_denied(role: &str, roles: &str) -> Status {
    let message = format!(
        "the client certificate has no role `{role}` (it has: {roles}); a certificate has the \
         roles of its DNS names ROLE.segment-source.internal"
    );
    Status::with_error_details(Code::PermissionDenied, message, details("ROLE_NOT_GRANTED"))
}

fn permission_denied(right: Right, source: Option<&SourceId>, message: &str) -> Status {
    let mut metadata = HashMap::from([("right".to_owned(), right.name().to_owned())]);
    metadata.extend(source.map(|source| ("source".to_owned(), source.to_string())));
    let details = ErrorDetails::with_error_info("PERMISSION_DENIED", DOMAIN, metadata);
    Status::with_error_details(Code::PermissionDenied, message, details)
}
