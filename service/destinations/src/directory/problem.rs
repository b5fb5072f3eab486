//! The gRPC errors that only directories say; what all services share is in
//! `segment_source_rpc::problem`.

use segment_source_core::{directory::Damaged, source::SourceId};
use segment_source_rpc::problem;
use tonic::Status;

pub(super) use crate::problem::store;
pub(super) use segment_source_rpc::problem::{draining, invalid};

/// NOT_FOUND: there is no such source here.
pub(super) fn unknown_source(source: &SourceId) -> Status {
    let message = format!(
        "there is no source {source} here; check the names, and that the source is loaded \
         (Admin/ListSources)"
    );
    problem::not_found("SOURCE_NOT_FOUND", "SegmentSource", source.as_str(), &message)
}

/// NOT_FOUND: the directory has no such entry. Does not repeat its name, which is personal data.
pub(super) fn unknown_entry(source: &SourceId) -> Status {
    let message = format!(
        "the directory of {source} has no such entry: no action made it, or it was deleted"
    );
    problem::not_found("ENTRY_NOT_FOUND", "DirectoryEntry", source.as_str(), &message)
}

/// OUT_OF_RANGE: what came after the revision is not known.
pub(super) fn unknown_revision(asked: u64, newest: u64) -> Status {
    let message = format!(
        "after_revision: {asked} is of another life of this directory, whose newest revision is \
         {newest}; list, and watch from the revision of the list"
    );
    problem::out_of_range("REVISION_UNKNOWN", message)
}

/// INTERNAL: the store has bytes that nobody can read.
pub(super) fn damaged(error: Damaged) -> Status {
    problem::internal(&error.to_string())
}
