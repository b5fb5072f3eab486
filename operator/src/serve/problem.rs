//! The gRPC errors that only the configuration stream says; what all services share is in
//! `segment_source_rpc::problem`.

use segment_source_rpc::problem::unavailable;
use tonic::Status;

pub(super) use segment_source_rpc::problem::{invalid, role_denied};

use crate::table::Stale;

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

/// UNAVAILABLE: the replica must be told all names again.
pub(super) fn stale(why: Stale) -> Status {
    match why {
        Stale::Behind => {
            unavailable("BEHIND", "too much changed since the replica last read; connect again")
        }
        Stale::Read => {
            unavailable("READ", "a namespace that could not be read now can be; connect again")
        }
    }
}
