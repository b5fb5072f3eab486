//! What a batch is answered with.

use segment_source_proto::ingest::v1::{
    SubmitFailure, SubmitResult, SubmitStreamResponse, submit_failure::Reason,
    submit_result::Outcome,
};
use segment_source_rpc::problem;
use segment_source_store::{Accepted, StoreError};
use tonic::{Code, Status};

use super::batch::Refused;
use crate::metrics::SubmitMetrics;

/// A batch of which nothing was stored for sure.
pub(super) fn failure(
    metrics: &SubmitMetrics,
    sequence: u64,
    reason: Reason,
    message: String,
) -> SubmitStreamResponse {
    metrics.failed(label(reason));
    let failure = SubmitFailure { reason: reason.into(), message };
    SubmitStreamResponse { sequence, results: Vec::new(), failure: Some(failure) }
}

fn label(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified | Reason::Unavailable => "unavailable",
        Reason::Full => "full",
        Reason::Draining => "draining",
        Reason::Invalid => "invalid",
        Reason::PermissionDenied => "permission_denied",
    }
}

fn reason(error: &StoreError) -> Reason {
    match error {
        StoreError::Full { .. } => Reason::Full,
        StoreError::Unavailable(_) => Reason::Unavailable,
        StoreError::Closing => Reason::Draining,
    }
}

/// A batch that breaks a rule, on a stream.
///
/// # Errors
/// With what the stream ends, when its caller is nobody any more.
pub(super) fn refused_on_stream(
    metrics: &SubmitMetrics,
    sequence: u64,
    refused: Refused,
) -> Result<SubmitStreamResponse, Status> {
    let (reason, message) = match refused {
        Refused::Invalid { field, rule } => (Reason::Invalid, format!("{field}: {rule}")),
        Refused::Denied { field, status } if status.code() == Code::PermissionDenied => {
            (Reason::PermissionDenied, format!("{field}: {}", status.message()))
        }
        Refused::Denied { status, .. } => return Err(status),
        Refused::NoReceipt => (Reason::Unavailable, NO_RECEIPT.to_owned()),
    };
    Ok(failure(metrics, sequence, reason, message))
}

/// A batch that breaks a rule, as a call of its own.
pub(super) fn refused(metrics: &SubmitMetrics, refused: Refused) -> Status {
    let (reason, status) = match refused {
        Refused::Invalid { field, rule } => (Reason::Invalid, problem::invalid(&field, rule)),
        Refused::Denied { status, .. } => (Reason::PermissionDenied, status),
        Refused::NoReceipt => {
            (Reason::Unavailable, problem::unavailable("NO_RANDOM_BYTES", NO_RECEIPT))
        }
    };
    metrics.failed(label(reason));
    status
}

const NO_RECEIPT: &str = "the system gives no random bytes for a receipt; submit it again";

/// A batch that the store did not take, as a call of its own.
pub(super) fn failed(metrics: &SubmitMetrics, error: &StoreError) -> Status {
    metrics.failed(label(reason(error)));
    match error {
        StoreError::Full { .. } => problem::exhausted(error.code(), error.to_string()),
        StoreError::Unavailable(_) => problem::unavailable(error.code(), error.to_string()),
        StoreError::Closing => problem::draining(),
    }
}

pub(super) fn draining(metrics: &SubmitMetrics, sequence: u64) -> SubmitStreamResponse {
    failure(metrics, sequence, Reason::Draining, StoreError::Closing.to_string())
}

/// The store's answer to the events of a batch; `places` says of each submission whether it is
/// among them.
pub(super) fn stored(
    metrics: &SubmitMetrics,
    sequence: u64,
    places: &[Place],
    accepted: Result<Vec<Accepted>, StoreError>,
) -> SubmitStreamResponse {
    match accepted {
        Ok(accepted) => {
            let results = results(metrics, places, accepted);
            SubmitStreamResponse { sequence, results, failure: None }
        }
        Err(error) => failure(metrics, sequence, reason(&error), error.to_string()),
    }
}

/// One result for each submission.
pub(super) fn results(
    metrics: &SubmitMetrics,
    places: &[Place],
    accepted: Vec<Accepted>,
) -> Vec<SubmitResult> {
    let mut accepted = accepted.into_iter();
    places.iter().map(|place| result(metrics, *place, &mut accepted)).collect()
}

/// Where a submission went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To the store, with the next of the batch's events.
    Stored {
        /// Nothing can be mapped to it.
        unmappable: bool,
    },
    /// Nowhere: its source is not configured.
    UnknownSource,
}

fn result(
    metrics: &SubmitMetrics,
    place: Place,
    accepted: &mut impl Iterator<Item = Accepted>,
) -> SubmitResult {
    let answer = match place {
        Place::Stored { unmappable } => accepted.next().map(|accepted| (accepted, unmappable)),
        Place::UnknownSource => None,
    };
    let (outcome, event_id) = match answer {
        Some((Accepted::New(id), unmappable)) => {
            metrics.accepted.inc();
            metrics.unmappable.inc_by(u64::from(unmappable));
            (Outcome::Accepted, id.to_string())
        }
        Some((Accepted::Duplicate { entry, .. }, _)) => {
            metrics.duplicates.inc();
            (Outcome::Duplicate, entry.to_string())
        }
        None => {
            metrics.unknown_source.inc();
            (Outcome::UnknownSource, String::new())
        }
    };
    SubmitResult { outcome: outcome.into(), event_id }
}
