//! From a log entry to what people see of it.

use std::time::{Duration, UNIX_EPOCH};

use prost_types::Timestamp;
use segment_source_core::event::Verdict;
use segment_source_proto::{
    admin::v1::{Action, Attempt, EventSummary, GetEventResponse, Outcome, action::State},
    event::v1 as wire,
};
use segment_source_store::{ActionState, ActionStatus, LogEntry, Millis};

use crate::rehearse::notes;

/// What became of an event, in one word.
pub(super) fn outcome(entry: &LogEntry) -> Outcome {
    let any = |wanted: fn(ActionState) -> bool| entry.actions.iter().any(|a| wanted(a.state));
    if entry.duplicate_of.is_some() {
        Outcome::Duplicate
    } else if entry.event.unmappable.is_some() {
        Outcome::Unmappable
    } else if entry.planned.is_none() {
        Outcome::Waiting
    } else if entry.actions.is_empty() {
        Outcome::NoAction
    } else if any(|state| matches!(state, ActionState::Failed | ActionState::Dead)) {
        Outcome::Failed
    } else if any(|state| state != ActionState::Delivered) {
        Outcome::Pending
    } else {
        Outcome::Delivered
    }
}

/// One line of a list.
pub(super) fn summary(entry: &LogEntry) -> EventSummary {
    let event = &entry.event;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    EventSummary {
        event_id: entry.id.to_string(),
        accepted: Some(timestamp(entry.id.millis)),
        event_type: text(&event.event_type),
        key: text(&event.key),
        order_key: text(&event.order_key),
        outcome: outcome(entry).into(),
        duplicate_of: entry.duplicate_of.map(|id| id.to_string()).unwrap_or_default(),
        actions: u32::try_from(entry.actions.len()).unwrap_or(u32::MAX),
        unmappable: text(&event.unmappable),
    }
}

/// Everything.
pub(super) fn event(entry: LogEntry) -> GetEventResponse {
    let summary = summary(&entry);
    let event = entry.event;
    let (generation, planning_notes) =
        entry.planned.map(|planned| (planned.generation, planned.notes)).unzip();
    GetEventResponse {
        event: Some(summary),
        namespace: entry.source.namespace().to_owned(),
        name: entry.source.name().to_owned(),
        verdict: verdict(event.verification.verdict).into(),
        covered: event.verification.covered,
        element: event.element,
        event_timestamp: event.timestamp.unwrap_or_default(),
        headers: event
            .headers
            .into_iter()
            .map(|(name, value)| wire::Header { name, value })
            .collect(),
        body: event.body,
        planned_generation: generation,
        notes: notes(planning_notes.unwrap_or_default()),
        actions: entry.actions.into_iter().map(action).collect(),
    }
}

/// The wire's form of a time.
pub(super) fn timestamp(millis: Millis) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(millis)).into()
}

fn action(status: ActionStatus) -> Action {
    let (state, not_before) = match status.state {
        ActionState::Pending { not_before } => (State::Pending, not_before),
        ActionState::Leased => (State::Leased, None),
        ActionState::Delivered => (State::Delivered, None),
        ActionState::Failed => (State::Failed, None),
        ActionState::Dead => (State::Dead, None),
    };
    let (reason_code, reason) = status.reason.map(|r| (r.code, r.message)).unwrap_or_default();
    Action {
        action_id: status.id.to_string(),
        idempotency_key: status.id.idempotency_key(&status.action.mapping),
        mapping: status.action.mapping,
        action_type: status.action.action_type,
        destination: status.action.destination,
        state: state.into(),
        attempts: status.attempts,
        reason_code,
        reason,
        payload_json: status.action.payload.unwrap_or_default(),
        not_before: not_before.map(timestamp),
        run: status.id.run.into(),
        history: status.history.into_iter().map(attempt).collect(),
        answer: status.answer,
    }
}

fn attempt(attempt: segment_source_store::Attempt) -> Attempt {
    let (reason_code, reason) = attempt.failure.map(|it| (it.code, it.message)).unwrap_or_default();
    Attempt {
        started: Some(timestamp(attempt.started)),
        ended: Some(timestamp(attempt.ended)),
        reason_code,
        reason,
    }
}

fn verdict(verdict: Verdict) -> wire::Verdict {
    match verdict {
        Verdict::VerifiedBody => wire::Verdict::VerifiedBody,
        Verdict::VerifiedFirstElement => wire::Verdict::VerifiedFirstElement,
        Verdict::ObservedMissing => wire::Verdict::ObservedMissing,
        Verdict::ObservedMismatch => wire::Verdict::ObservedMismatch,
        Verdict::ObservedNoSecret => wire::Verdict::ObservedNoSecret,
        Verdict::Internal => wire::Verdict::Internal,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use segment_source_core::{
        event::{ActionId, Event, EventId, Verdict},
        source::SourceHash,
    };
    use segment_source_proto::admin::v1::Outcome;
    use segment_source_store::{Action, ActionState, ActionStatus, LogEntry, Planned};

    use super::{outcome, timestamp};

    const ID: EventId = EventId { millis: 1_001, sequence: 0, source: SourceHash([0; 8]) };

    /// An entry with actions in these states; `None`: not planned.
    fn entry(states: Option<&[ActionState]>) -> LogEntry {
        let status = |state: &ActionState| ActionStatus {
            id: ActionId { event: ID, run: 0, index: 0 },
            action: Action {
                mapping: "m".into(),
                action_type: "users_identify".into(),
                destination: "default".into(),
                event_type: "identify".into(),
                event_timestamp: String::new(),
                payload: None,
            },
            state: *state,
            attempts: 0,
            reason: None,
            history: Vec::new(),
            answer: String::new(),
        };
        LogEntry {
            id: ID,
            source: "prod/web".parse().unwrap(),
            event: Event {
                event_type: Some("identify".into()),
                key: None,
                order_key: None,
                timestamp: None,
                unmappable: None,
                verification: Verdict::VerifiedBody.of_element(0),
                element: 0,
                headers: Vec::new(),
                body: Bytes::new(),
            },
            duplicate_of: None,
            planned: states.map(|_| Planned::default()),
            actions: states.unwrap_or_default().iter().map(status).collect(),
        }
    }

    #[test]
    fn the_worst_that_happened_is_the_outcome() {
        use ActionState::{Dead, Delivered, Failed, Leased};
        let pending = ActionState::Pending { not_before: None };
        let check = |states: &[ActionState], expected| {
            assert_eq!(outcome(&entry(Some(states))), expected, "{states:?}");
        };
        assert_eq!(outcome(&entry(None)), Outcome::Waiting);
        check(&[], Outcome::NoAction);
        check(&[Delivered, Delivered], Outcome::Delivered);
        check(&[Delivered, pending], Outcome::Pending);
        check(&[Leased, Delivered], Outcome::Pending);
        check(&[pending, Failed], Outcome::Failed);
        check(&[Delivered, Dead, pending], Outcome::Failed);

        let mut duplicate = entry(None);
        duplicate.duplicate_of = Some(ID);
        assert_eq!(outcome(&duplicate), Outcome::Duplicate);
        let mut unmappable = entry(None);
        unmappable.event.unmappable = Some("not JSON".into());
        assert_eq!(outcome(&unmappable), Outcome::Unmappable);
    }

    #[test]
    fn times_keep_their_milliseconds() {
        let time = timestamp(1_001);
        assert_eq!((time.seconds, time.nanos), (1, 1_000_000));
    }
}
