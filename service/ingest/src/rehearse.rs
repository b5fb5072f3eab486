//! What an event would do, without doing it: the same description and planning that accepted
//! events go through, told in words. Pure.

use bytes::Bytes;
use segment_source_core::{
    event::HEADERS_NOT_KEPT,
    mapping::{Decision, Mapping, Outcome},
};
use segment_source_proto::admin::v1 as wire;

use crate::Source;

/// Rehearses one event, as if a signature covered it. `headers` are the request's, names in any
/// case; signature and credentials among them are not looked at, as they are never kept.
#[must_use]
pub fn rehearse(
    source: &Source,
    body: Bytes,
    headers: &[(String, String)],
) -> wire::RehearseResponse {
    let kept = |name: &str| !HEADERS_NOT_KEPT.iter().any(|it| it.eq_ignore_ascii_case(name));
    let headers: Vec<(String, String)> =
        headers.iter().filter(|(name, _)| kept(name)).cloned().collect();
    let described = source.describer.describe(&body, &headers);
    let mappings = match (&described.document, &described.event_type) {
        (Some(document), Some(event_type)) => source
            .mappings
            .plan(document, event_type, true, &source.deny_uncovered)
            .into_iter()
            .zip(source.mappings.iter())
            .map(|(outcome, mapping)| rehearsed(event_type, mapping, outcome))
            .collect(),
        _ => {
            let why = described.unmappable.clone().unwrap_or_default();
            let reason = format!("nothing can be mapped: {why}");
            source.mappings.iter().map(|mapping| unmatched(&mapping.name, reason.clone())).collect()
        }
    };
    wire::RehearseResponse {
        event_type: described.event_type.unwrap_or_default(),
        key: described.key.unwrap_or_default(),
        order_key: described.order_key.unwrap_or_default(),
        event_timestamp: described.timestamp.unwrap_or_default(),
        unmappable: described.unmappable.unwrap_or_default(),
        mappings,
        notes: notes(described.notes),
    }
}

/// Notes as the wire has them.
pub(crate) fn notes(notes: Vec<(String, String)>) -> Vec<wire::Note> {
    notes.into_iter().map(|(subject, message)| wire::Note { subject, message }).collect()
}

fn rehearsed(event_type: &str, mapping: &Mapping, outcome: Outcome<'_>) -> wire::RehearsedMapping {
    let action = wire::Action {
        mapping: outcome.mapping.to_owned(),
        action_type: outcome.action_type.as_str().to_owned(),
        destination: outcome.destination.to_owned(),
        ..wire::Action::default()
    };
    let action = match outcome.result {
        Decision::OtherEventType => {
            let wanted = &mapping.event_type;
            let reason = format!("event type is `{event_type}`, this mapping wants `{wanted}`");
            return unmatched(outcome.mapping, reason);
        }
        Decision::Disabled => return unmatched(outcome.mapping, "disabled".to_owned()),
        Decision::NotMatched(why) => return unmatched(outcome.mapping, why),
        Decision::Rendered(payload_json) => {
            wire::Action { state: wire::action::State::Pending.into(), payload_json, ..action }
        }
        Decision::Failed(failure) => wire::Action {
            state: wire::action::State::Failed.into(),
            reason_code: failure.code.to_owned(),
            reason: failure.message,
            ..action
        },
    };
    wire::RehearsedMapping {
        mapping: outcome.mapping.to_owned(),
        matched: true,
        reason: String::new(),
        action: Some(action),
    }
}

fn unmatched(mapping: &str, reason: String) -> wire::RehearsedMapping {
    wire::RehearsedMapping { mapping: mapping.to_owned(), matched: false, reason, action: None }
}
