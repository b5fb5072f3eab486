//! Errors of the queue service as gRPC says them: a code, a sentence, and google.rpc details.

use std::time::Duration;

use segment_source_core::source::DestinationId;
use segment_source_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "segment-source.dev";

/// INVALID_ARGUMENT with the field it is about.
pub(super) fn invalid(field: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info("INVALID_ARGUMENT", DOMAIN, []);
    details.add_bad_request_violation(field, message);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {message}"), details)
}

/// NOT_FOUND: there is no such source, or it has no such queue.
pub(super) fn unknown_queue(queue: &DestinationId) -> Status {
    let mut details = ErrorDetails::with_error_info("QUEUE_NOT_FOUND", DOMAIN, []);
    details.set_resource_info("segment-source.dev/Queue", queue.to_string(), "", "not configured");
    let message = format!(
        "source {} has no queue destination `{}` here; check the names, and that the source is \
         loaded (Admin/ListSources)",
        queue.source, queue.name
    );
    Status::with_error_details(Code::NotFound, message, details)
}

/// UNAVAILABLE: the same call will work again.
pub(super) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Full { .. } => unavailable("STORE_FULL", &error.to_string()),
        StoreError::Unavailable(_) => unavailable("STORE_UNAVAILABLE", &error.to_string()),
        StoreError::Closing => draining(),
    }
}

/// UNAVAILABLE: this process is going; another one or a later call will do.
pub(super) fn draining() -> Status {
    unavailable("DRAINING", "this process is shutting down; connect again")
}

/// UNAVAILABLE: the queue's configuration is gone or changed under an open call.
pub(super) fn queue_gone(queue: &DestinationId) -> Status {
    unavailable("QUEUE_REMOVED", &format!("queue {queue} is no longer configured"))
}

fn unavailable(reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    details.set_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(Code::Unavailable, message, details)
}
