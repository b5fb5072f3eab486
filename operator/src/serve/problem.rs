//! The gRPC errors that only the configuration stream says; what all services share is in
//! `segment_source_rpc::problem`.

use segment_source_rpc::problem::unavailable;
use tonic::Status;

pub(super) use segment_source_rpc::problem::{invalid, role_denied};

/// UNAVAILABLE: another replica of the operator leads.
pub(super) fn not_leading() -> Status {
    unavailable("NOT_LEADING", "this replica of the operator does not lead; try another address")
}

/// UNAVAILABLE: it leads, and has not read all names yet.
pub(super) fn not_ready() -> Status {
    unavailable("NOT_READY", "the operator has not read all sources yet; try again in a moment")
}

/// UNAVAILABLE: it ends.
pub(super) fn draining() -> Status {
    unavailable(
        "DRAINING",
        "this replica of the operator ends; another one takes over, try its address",
    )
}

/// UNAVAILABLE: the replica reads too slowly.
pub(super) fn behind() -> Status {
    unavailable("BEHIND", "too much changed since the replica last read; it must connect again")
}
