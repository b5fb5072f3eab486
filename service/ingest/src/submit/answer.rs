//! What a batch is answered with.

use segment_source_proto::ingest::v1::{
    SubmitFailure, SubmitResult, SubmitStreamResponse, submit_failure::Reason,
    submit_result::Outcome,
};
use segment_source_store::{Accepted, StoreError};

use crate::metrics::SubmitMetrics;

/// A batch of which nothing was stored for sure.
pub(super) fn failure(
    metrics: &SubmitMetrics,
    sequence: u64,
    reason: Reason,
    message: String,
) -> SubmitStreamResponse {
    metrics.failed(match reason {
        Reason::Unspecified | Reason::Unavailable => "unavailable",
        Reason::Full => "full",
        Reason::Draining => "draining",
        Reason::Invalid => "invalid",
    });
    let failure = SubmitFailure { reason: reason.into(), message };
    SubmitStreamResponse { sequence, results: Vec::new(), failure: Some(failure) }
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
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            let reason = match error {
                StoreError::Full { .. } => Reason::Full,
                StoreError::Unavailable(_) => Reason::Unavailable,
                StoreError::Closing => Reason::Draining,
            };
            return failure(metrics, sequence, reason, error.to_string());
        }
    };
    let mut accepted = accepted.into_iter();
    let results = places.iter().map(|place| result(metrics, *place, &mut accepted)).collect();
    SubmitStreamResponse { sequence, results, failure: None }
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
