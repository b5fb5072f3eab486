//! gRPC errors: every one carries a google.rpc ErrorInfo with this project's domain and a reason
//! from the set below, and what else helps a client to react.

use std::{collections::HashMap, time::Duration};

use segment_source_core::source::SourceId;
use segment_source_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

const DOMAIN: &str = "segment-source.dev";

/// When asking again makes sense for what heals by itself.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

/// One field of the request is wrong; `description` says what it should be.
pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Status {
    let description = description.into();
    let message = format!("{field}: {description}");
    let mut details = details("INVALID_ARGUMENT");
    details.set_bad_request(vec![FieldViolation::new(field, description)]);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The id is well-formed, but nothing is stored under it.
pub(crate) fn no_such_event(id: &str) -> Status {
    let message = format!("there is no event {id}: it never existed here, or retention removed it");
    let mut details = details("EVENT_NOT_FOUND");
    details.set_resource_info("segment-source.dev/Event", id, "", &message);
    Status::with_error_details(Code::NotFound, message, details)
}

/// The source is not configured (and, where a log is asked for, has none).
pub(crate) fn no_such_source(id: &SourceId) -> Status {
    let message = format!("there is no source {id}; ListSources names those that are configured");
    let mut details = details("SOURCE_NOT_FOUND");
    details.set_resource_info("segment-source.dev/SegmentSource", id.as_str(), "", &message);
    Status::with_error_details(Code::NotFound, message, details)
}

/// The store did not do what it was asked; asking again is right.
pub(crate) fn store(error: &StoreError) -> Status {
    let reason = match error {
        StoreError::Full { .. } => "STORE_FULL",
        StoreError::Unavailable(_) => "STORE_UNAVAILABLE",
        StoreError::Closing => return draining(),
    };
    retriable(reason, error.to_string())
}

/// The process is shutting down.
pub(crate) fn draining() -> Status {
    retriable("DRAINING", "the process is shutting down; connect again".to_owned())
}

/// A fault of ours.
pub(crate) fn internal(message: &str) -> Status {
    Status::with_error_details(Code::Internal, message, details("INTERNAL"))
}

fn retriable(reason: &str, message: String) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, message, details)
}
