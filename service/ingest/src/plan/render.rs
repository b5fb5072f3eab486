//! What becomes of one stored event under one configuration. Pure.

use segment_source_core::{
    event::{Event, EventId},
    mapping::{Decision, Outcome},
};
use segment_source_store::{NewAction, PlannedEvent, Reason};

use crate::Source;

/// Renders an event's actions, and notes why mappings for its type made none.
///
/// The event type is the one the event was accepted with, which is what the log shows and what its
/// key was claimed under; `preprocess` and mappings are the configuration's.
pub(crate) fn render(source: &Source, id: EventId, event: &Event) -> PlannedEvent {
    let (generation, actions) = (source.generation, Vec::new());
    let mut planned = PlannedEvent { event: id, generation, notes: Vec::new(), actions };
    if event.event_type.as_deref().is_some_and(|kind| !source.mappings.concern(kind)) {
        return planned;
    }
    let described = source.describer.describe(&event.body, &event.headers);
    planned.notes = described.notes;
    let (Some(document), Some(event_type)) = (&described.document, &event.event_type) else {
        let why = described.unmappable.or_else(|| event.unmappable.clone()).unwrap_or_default();
        note(&mut planned, "event", why);
        return planned;
    };
    let covered = event.verification.covered;
    for outcome in source.mappings.plan(document, event_type, covered, &source.deny_uncovered) {
        add(&mut planned, outcome);
    }
    planned
}

fn add(planned: &mut PlannedEvent, outcome: Outcome<'_>) {
    let rendered = match outcome.result {
        Decision::OtherEventType => return,
        Decision::Disabled => return note(planned, outcome.mapping, "disabled".to_owned()),
        Decision::NotMatched(why) => return note(planned, outcome.mapping, why),
        Decision::Rendered(payload) => Ok(payload),
        Decision::Failed(failure) => {
            Err(Reason { code: failure.code.to_owned(), message: failure.message })
        }
    };
    planned.actions.push(NewAction {
        mapping: outcome.mapping.to_owned(),
        action_type: outcome.action_type.as_str(),
        destination: outcome.destination.to_owned(),
        rendered,
    });
}

fn note(planned: &mut PlannedEvent, subject: &str, message: String) {
    planned.notes.push((subject.to_owned(), message));
}
