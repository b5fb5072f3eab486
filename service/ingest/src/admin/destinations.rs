//! Destinations as people see and stop them. What a hold means for deliveries is the destinations'
//! business: they read it from the store.

use prost_types::Timestamp;
use segment_source_core::source::DestinationId;
use segment_source_proto::admin::v1::{DestinationHold, DestinationStatus, HoldRequest};
use segment_source_rpc::problem::{invalid, not_found};
use segment_source_store::{Ending, Hold, Millis, Store};
use tonic::Status;

use super::{present::timestamp, request::millis};
use crate::{Source, status};

/// Bytes of a reason that are kept.
const LONGEST_REASON: usize = 1_024;

/// All destinations of a source, in the manifest's order.
pub(super) async fn list(store: &Store, source: &Source) -> Result<Vec<DestinationStatus>, Status> {
    let now = store.now();
    let mut all = Vec::new();
    for destination in &source.destinations {
        let id = source.id_of(destination);
        let backlog = store.backlog(&id).await.map_err(|error| status::store(&error))?;
        let ledger = store.hold_ledger(&id).await.map_err(|error| status::store(&error))?;
        all.push(DestinationStatus {
            name: destination.name.clone(),
            kind: destination.kind.to_owned(),
            waiting_lanes: backlog.lanes,
            oldest: backlog.oldest.map(timestamp),
            // One that is over is put away when somebody delivers.
            hold: ledger.hold.filter(|it| !it.is_over(now)).map(hold_view),
            unresolved: destination.unresolved,
        });
    }
    Ok(all)
}

fn hold_view(hold: Hold) -> DestinationHold {
    DestinationHold {
        since: Some(timestamp(hold.since)),
        until: hold.until.map(timestamp),
        refused: hold.refused,
        reason: hold.reason,
    }
}

pub(super) async fn hold(
    store: &Store,
    source: &Source,
    request: HoldRequest,
) -> Result<(), Status> {
    let id = existing(source, &request.destination)?;
    let now = store.now();
    let hold = Hold {
        since: now,
        until: until(request.until, now)?,
        refused: false,
        reason: bounded(request.reason),
    };
    store.hold(&id, hold).await.map_err(|error| status::store(&error))
}

/// Whether it was held.
pub(super) async fn release(store: &Store, source: &Source, name: &str) -> Result<bool, Status> {
    let id = existing(source, name)?;
    let ended = store.end_hold(&id, Ending::Any).await.map_err(|error| status::store(&error))?;
    Ok(ended.is_some())
}

fn existing(source: &Source, name: &str) -> Result<DestinationId, Status> {
    if let Some(destination) = source.destinations.iter().find(|it| it.name == name) {
        return Ok(source.id_of(destination));
    }
    let known: Vec<&str> = source.destinations().collect();
    let message =
        format!("source {} has no destination `{name}`; it has {}", source.id, known.join(", "));
    Err(not_found("DESTINATION_NOT_FOUND", "Destination", name, &message))
}

fn until(until: Option<Timestamp>, now: Millis) -> Result<Option<Millis>, Status> {
    let Some(until) = until else { return Ok(None) };
    match millis("until", until)? {
        until if until > now => Ok(Some(until)),
        _ => Err(invalid("until", "lies in the past; give a time to come, or none")),
    }
}

fn bounded(mut reason: String) -> String {
    while reason.len() > LONGEST_REASON {
        reason.pop();
    }
    reason
}
