//! The gRPC errors that only this crate says; what all services share is in
//! `segment_source_rpc::problem`.

use segment_source_core::source::SourceId;
use segment_source_rpc::problem;
use segment_source_store::StoreError;
use tonic::Status;

/// The id is well-formed, but nothing is stored under it.
pub(crate) fn no_such_event(id: &str) -> Status {
    let message = format!("there is no event {id}: it never existed here, or retention removed it");
    problem::not_found("EVENT_NOT_FOUND", "Event", id, &message)
}

/// The source is not configured (and, where a log is asked for, has none).
pub(crate) fn no_such_source(id: &SourceId) -> Status {
    let message = format!("there is no source {id}; ListSources names those that are configured");
    problem::not_found("SOURCE_NOT_FOUND", "SegmentSource", id.as_str(), &message)
}

/// The store did not do what it was asked; asking again is right.
pub(crate) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Full { .. } | StoreError::Unavailable(_) => {
            problem::unavailable(error.code(), error.to_string())
        }
        StoreError::Closing => problem::draining(),
    }
}
