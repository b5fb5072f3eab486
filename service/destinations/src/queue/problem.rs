//! The gRPC errors that only queues say; what all services share is in
//! `segment_source_rpc::problem`.

use segment_source_core::source::DestinationId;
use segment_source_rpc::problem;
use tonic::Status;

pub(super) use crate::problem::store;
pub(super) use segment_source_rpc::problem::{draining, invalid};

/// NOT_FOUND: there is no such source, or it has no such queue.
pub(super) fn unknown_queue(queue: &DestinationId) -> Status {
    let message = format!(
        "source {} has no queue destination `{}` here; check the names, and that the source is \
         loaded (Admin/ListSources)",
        queue.source, queue.name
    );
    problem::not_found("QUEUE_NOT_FOUND", "Queue", &queue.to_string(), &message)
}

/// UNAVAILABLE: the queue's configuration is gone or changed under an open call.
pub(super) fn queue_gone(queue: &DestinationId) -> Status {
    problem::unavailable("QUEUE_REMOVED", format!("queue {queue} is no longer configured"))
}
