//! Events and actions as commands show them: the same values as JSON and as text.

use jiff::Timestamp;
use prost_types::Timestamp as WireTimestamp;
use segment_source_proto::{
    admin::v1::{
        Action, Attempt, EventSummary, GetEventResponse, Note, Outcome, RehearseResponse,
        RehearsedMapping, action::State,
    },
    event::v1::{Header, Verdict},
};
use serde::Serialize;
use serde_json::value::RawValue;

/// RFC 3339 in UTC; empty when there is none.
pub(crate) fn time(wire: Option<&WireTimestamp>) -> String {
    wire.and_then(|wire| Timestamp::new(wire.seconds, wire.nanos).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// The part of a name after the enum's prefix, in lower case.
pub(crate) fn value_name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

pub(crate) fn outcome(outcome: Outcome) -> String {
    value_name(outcome.as_str_name(), "OUTCOME_")
}

pub(crate) fn verdict(verdict: Verdict) -> String {
    value_name(verdict.as_str_name(), "VERDICT_")
}

/// Bytes that should be JSON: shown as such, or else as a string.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Json {
    Value(Box<RawValue>),
    Text(String),
}

impl Json {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(value) => Self::Value(value),
            Err(_) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Value(value) => value.get(),
            Self::Text(text) => text,
        }
    }
}

/// A line of the log.
#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) event_id: String,
    pub(crate) accepted: String,
    pub(crate) event_type: String,
    pub(crate) key: String,
    pub(crate) order_key: String,
    pub(crate) outcome: String,
    pub(crate) duplicate_of: String,
    pub(crate) actions: u32,
    pub(crate) unmappable: String,
}

impl From<EventSummary> for EventView {
    fn from(event: EventSummary) -> Self {
        Self {
            accepted: time(event.accepted.as_ref()),
            outcome: outcome(event.outcome()),
            event_id: event.event_id,
            event_type: event.event_type,
            key: event.key,
            order_key: event.order_key,
            duplicate_of: event.duplicate_of,
            actions: event.actions,
            unmappable: event.unmappable,
        }
    }
}

/// Everything known of one event.
#[derive(Debug, Serialize)]
pub(crate) struct EventDetail {
    pub(crate) event: EventView,
    pub(crate) source: String,
    pub(crate) verdict: String,
    pub(crate) covered: bool,
    pub(crate) element: u32,
    pub(crate) event_timestamp: String,
    pub(crate) planned_generation: Option<i64>,
    pub(crate) notes: Vec<NoteView>,
    pub(crate) actions: Vec<ActionView>,
    pub(crate) headers: Vec<HeaderView>,
    pub(crate) body: Json,
}

impl From<GetEventResponse> for EventDetail {
    fn from(event: GetEventResponse) -> Self {
        Self {
            verdict: verdict(event.verdict()),
            source: format!("{}/{}", event.namespace, event.name),
            covered: event.covered,
            element: event.element,
            event_timestamp: event.event_timestamp,
            planned_generation: event.planned_generation,
            notes: event.notes.into_iter().map(NoteView::from).collect(),
            actions: event.actions.into_iter().map(ActionView::from).collect(),
            headers: event.headers.into_iter().map(HeaderView::from).collect(),
            body: Json::new(&event.body),
            event: event.event.unwrap_or_default().into(),
        }
    }
}

/// A header of the request.
#[derive(Debug, Serialize)]
pub(crate) struct HeaderView {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl From<Header> for HeaderView {
    fn from(header: Header) -> Self {
        Self { name: header.name, value: header.value }
    }
}

/// A remark on a mapping or a preprocess value.
#[derive(Debug, Serialize)]
pub(crate) struct NoteView {
    pub(crate) subject: String,
    pub(crate) message: String,
}

impl From<Note> for NoteView {
    fn from(note: Note) -> Self {
        Self { subject: note.subject, message: note.message }
    }
}

/// One action of an event.
#[derive(Debug, Serialize)]
pub(crate) struct ActionView {
    pub(crate) action_id: String,
    pub(crate) mapping: String,
    pub(crate) action_type: String,
    pub(crate) destination: String,
    pub(crate) state: String,
    pub(crate) attempts: u32,
    pub(crate) reason_code: String,
    pub(crate) reason: String,
    pub(crate) idempotency_key: String,
    pub(crate) not_before: String,
    /// 0; each replay of the event makes another run.
    pub(crate) run: u32,
    /// Attempts that ended, oldest first.
    pub(crate) history: Vec<AttemptView>,
    /// What the destination said in the end.
    pub(crate) answer: String,
    /// `None` when the action failed to render.
    pub(crate) payload: Option<Json>,
}

/// One attempt to deliver an action.
#[derive(Debug, Serialize)]
pub(crate) struct AttemptView {
    pub(crate) started: String,
    pub(crate) ended: String,
    /// Empty when it succeeded.
    pub(crate) reason_code: String,
    pub(crate) reason: String,
}

impl AttemptView {
    /// When, and how it ended.
    pub(crate) fn line(&self) -> String {
        match self.reason_code.as_str() {
            "" => format!("{}  done", self.started),
            code => format!("{}  {code}: {}", self.started, self.reason),
        }
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            started: time(attempt.started.as_ref()),
            ended: time(attempt.ended.as_ref()),
            reason_code: attempt.reason_code,
            reason: attempt.reason,
        }
    }
}

impl From<Action> for ActionView {
    fn from(action: Action) -> Self {
        let rendered = action.state() != State::Failed && !action.payload_json.is_empty();
        Self {
            state: value_name(action.state().as_str_name(), "STATE_"),
            not_before: time(action.not_before.as_ref()),
            run: action.run,
            history: action.history.into_iter().map(AttemptView::from).collect(),
            answer: action.answer,
            payload: rendered.then(|| Json::new(&action.payload_json)),
            action_id: action.action_id,
            mapping: action.mapping,
            action_type: action.action_type,
            destination: action.destination,
            attempts: action.attempts,
            reason_code: action.reason_code,
            reason: action.reason,
            idempotency_key: action.idempotency_key,
        }
    }
}

/// What an event would do.
#[derive(Debug, Serialize)]
pub(crate) struct Rehearsal {
    pub(crate) event_type: String,
    pub(crate) key: String,
    pub(crate) order_key: String,
    pub(crate) event_timestamp: String,
    pub(crate) unmappable: String,
    pub(crate) mappings: Vec<RehearsedView>,
    pub(crate) notes: Vec<NoteView>,
}

/// What one mapping would do.
#[derive(Debug, Serialize)]
pub(crate) struct RehearsedView {
    pub(crate) mapping: String,
    pub(crate) matched: bool,
    pub(crate) reason: String,
    pub(crate) action: Option<ActionView>,
}

impl From<RehearseResponse> for Rehearsal {
    fn from(response: RehearseResponse) -> Self {
        Self {
            event_type: response.event_type,
            key: response.key,
            order_key: response.order_key,
            event_timestamp: response.event_timestamp,
            unmappable: response.unmappable,
            mappings: response.mappings.into_iter().map(RehearsedView::from).collect(),
            notes: response.notes.into_iter().map(NoteView::from).collect(),
        }
    }
}

impl From<RehearsedMapping> for RehearsedView {
    fn from(mapping: RehearsedMapping) -> Self {
        Self {
            mapping: mapping.mapping,
            matched: mapping.matched,
            reason: mapping.reason,
            action: mapping.action.map(ActionView::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::{Json, outcome, time, verdict};
    use segment_source_proto::{admin::v1::Outcome, event::v1::Verdict};

    #[test]
    fn enums_and_times_read_like_words() {
        assert_eq!(outcome(Outcome::NoAction), "no_action");
        assert_eq!(verdict(Verdict::VerifiedBody), "verified_body");
        assert_eq!(time(None), "");
        let wire = Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 };
        assert_eq!(time(Some(&wire)), "2023-11-14T22:13:20.005Z");
    }

    #[test]
    fn json_stays_as_it_was_written() {
        let text = |bytes: &[u8]| serde_json::to_string(&Json::new(bytes)).unwrap();
        assert_eq!(
            text(br#"{"id":12345678901234567890123,"x":1e+21}"#),
            r#"{"id":12345678901234567890123,"x":1e+21}"#
        );
        assert_eq!(text(br#"{"lone":"\ud83d"}"#), r#"{"lone":"\ud83d"}"#);
        assert_eq!(text(b"no json"), r#""no json""#);
        assert_eq!(text(b"\xff"), "\"\u{fffd}\"");
    }
}
