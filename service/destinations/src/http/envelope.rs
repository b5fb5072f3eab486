//! The body of `format: Action`. Pure; the same action always makes the same bytes.

use jiff::Timestamp;
use segment_source_core::{event::ActionId, source::SourceId};
use segment_source_store::Action;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    action_type: &'a str,
    source: String,
    mapping: &'a str,
    event: Event<'a>,
    data: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    /// As sent; null when the event has none.
    timestamp: Option<&'a str>,
    accepted_at: String,
}

/// The envelope of an action; its payload stands in it byte for byte.
///
/// # Errors
/// When the payload is no JSON.
pub(super) fn envelope(
    key: &str,
    source: &SourceId,
    id: ActionId,
    action: &Action,
) -> Result<Vec<u8>, serde_json::Error> {
    let event = id.event;
    let accepted = i64::try_from(event.millis).unwrap_or(i64::MAX);
    let accepted = Timestamp::from_millisecond(accepted).unwrap_or(Timestamp::MAX);
    serde_json::to_vec(&Envelope {
        id: key,
        action_type: &action.action_type,
        source: source.to_string(),
        mapping: &action.mapping,
        event: Event {
            id: event.to_string(),
            event_type: &action.event_type,
            timestamp: Some(&*action.event_timestamp).filter(|it| !it.is_empty()),
            accepted_at: format!("{accepted:.3}"),
        },
        data: serde_json::from_slice(action.payload.as_deref().unwrap_or(b"null"))?,
    })
}
