//! The gRPC errors that the services of this crate have in common; what only one of them says is in
//! its folder.

use segment_source_rpc::problem::{draining, unavailable};
use segment_source_store::StoreError;
use tonic::Status;

/// UNAVAILABLE: the same call will work again.
pub(crate) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Full { .. } | StoreError::Unavailable(_) => {
            unavailable(error.code(), error.to_string())
        }
        StoreError::Closing => draining(),
    }
}
