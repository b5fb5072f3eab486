//! What stores keep of events, plans and actions, and how it becomes values of the contract. A field's number is never used again for something else.

use bytes::Bytes;
use prost::Message;
use segment_source_core::{
    event::{Event, EventId, Verdict, Verification},
    source::short_hash,
};

use crate::{
    contract::{Action, Planned, Reason},
    fault::Fault,
};

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) first: String,
    #[prost(string, tag = "2")]
    pub(crate) second: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LogRecord {
    #[prost(string, optional, tag = "1")]
    pub(crate) event_type: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) key: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) order_key: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) timestamp: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) unmappable: Option<String>,
    #[prost(uint32, tag = "6")]
    pub(crate) verdict: u32,
    #[prost(bool, tag = "7")]
    pub(crate) covered: bool,
    #[prost(uint32, tag = "8")]
    pub(crate) element: u32,
    /// Name and value.
    #[prost(message, repeated, tag = "9")]
    pub(crate) headers: Vec<Pair>,
    #[prost(bytes = "bytes", tag = "10")]
    pub(crate) body: Bytes,
    /// Set for a duplicate: the event it repeats, 16 bytes.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub(crate) duplicate_of: Option<Vec<u8>>,
    /// Its content was removed on purpose; nothing is made of it any more.
    #[prost(bool, tag = "12")]
    pub(crate) erased: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PlanRecord {
    #[prost(int64, tag = "1")]
    pub(crate) generation: i64,
    /// Subject and message.
    #[prost(message, repeated, tag = "2")]
    pub(crate) notes: Vec<Pair>,
}

/// A replay of an event.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RunRecord {
    /// Its name, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) replay: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) plan: Option<PlanRecord>,
}

/// Written once.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ActionRecord {
    #[prost(string, tag = "1")]
    pub(crate) mapping: String,
    #[prost(string, tag = "2")]
    pub(crate) action_type: String,
    #[prost(string, tag = "3")]
    pub(crate) destination: String,
    #[prost(string, tag = "4")]
    pub(crate) event_type: String,
    #[prost(string, tag = "5")]
    pub(crate) event_timestamp: String,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(crate) payload: Option<Bytes>,
}

impl LogRecord {
    /// Takes everything but headers and body.
    pub(crate) fn description(event: &Event) -> Self {
        Self {
            event_type: event.event_type.clone(),
            key: event.key.clone(),
            order_key: event.order_key.clone(),
            timestamp: event.timestamp.clone(),
            unmappable: event.unmappable.clone(),
            verdict: verdict_number(event.verification.verdict),
            covered: event.verification.covered,
            element: event.element,
            ..Self::default()
        }
    }

    pub(crate) fn new(event: Event) -> Self {
        Self {
            verdict: verdict_number(event.verification.verdict),
            covered: event.verification.covered,
            event_type: event.event_type,
            key: event.key,
            order_key: event.order_key,
            timestamp: event.timestamp,
            unmappable: event.unmappable,
            element: event.element,
            headers: event.headers.into_iter().map(Pair::from).collect(),
            body: event.body,
            duplicate_of: None,
            erased: false,
        }
    }

    /// Of an event stays that it was there, and what it was.
    pub(crate) fn forget(&mut self) {
        self.erased = true;
        self.headers.clear();
        self.body = Bytes::new();
        (self.key, self.order_key) = (None, None);
    }

    pub(crate) fn original(&self) -> Result<Option<EventId>, Fault> {
        self.duplicate_of.as_deref().map(event_id).transpose()
    }

    pub(crate) fn into_event(self) -> Result<Event, Fault> {
        Ok(Event {
            event_type: self.event_type,
            key: self.key,
            order_key: self.order_key,
            timestamp: self.timestamp,
            unmappable: self.unmappable,
            verification: Verification { verdict: verdict(self.verdict)?, covered: self.covered },
            element: self.element,
            headers: self.headers.into_iter().map(<(String, String)>::from).collect(),
            body: self.body,
        })
    }
}

impl From<PlanRecord> for Planned {
    fn from(record: PlanRecord) -> Self {
        let notes = record.notes.into_iter().map(<(String, String)>::from).collect();
        Self { generation: record.generation, notes, replays: Vec::new() }
    }
}

impl From<ActionRecord> for Action {
    fn from(record: ActionRecord) -> Self {
        Self {
            mapping: record.mapping,
            action_type: record.action_type,
            destination: record.destination,
            event_type: record.event_type,
            event_timestamp: record.event_timestamp,
            payload: record.payload,
        }
    }
}

impl From<Action> for ActionRecord {
    fn from(action: Action) -> Self {
        Self {
            mapping: action.mapping,
            action_type: action.action_type,
            destination: action.destination,
            event_type: action.event_type,
            event_timestamp: action.event_timestamp,
            payload: action.payload,
        }
    }
}

impl From<(String, String)> for Pair {
    fn from((first, second): (String, String)) -> Self {
        Self { first, second }
    }
}

impl From<Pair> for (String, String) {
    fn from(pair: Pair) -> Self {
        (pair.first, pair.second)
    }
}

impl From<Reason> for Pair {
    fn from(reason: Reason) -> Self {
        Self { first: reason.code, second: reason.message }
    }
}

impl From<Pair> for Reason {
    fn from(pair: Pair) -> Self {
        Self { code: pair.first, message: pair.second }
    }
}

pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::damaged("an event id"))?;
    Ok(EventId::from_bytes(bytes))
}

/// Stands where words were that may quote what was erased.
pub(crate) const ERASED: &str = "erased";

/// A lane's name inside its queue: a hash of the order key, or of the event that has none. Two
/// that collide share their order, no more.
pub(crate) type Lane = [u8; 8];

pub(crate) fn lane(order_key: Option<&str>, event: EventId) -> Lane {
    match order_key {
        Some(key) => short_hash(key.as_bytes()),
        None => short_hash(&event.to_bytes()),
    }
}

/// Bytes kept of an answer, or of the words of one attempt.
pub(crate) const MAX_WORDS: usize = 1024;

/// The beginning, whole characters.
pub(crate) fn cut(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(MAX_WORDS));
    words
}

fn verdict_number(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::VerifiedBody => 1,
        Verdict::VerifiedFirstElement => 2,
        Verdict::ObservedMissing => 3,
        Verdict::ObservedMismatch => 4,
        Verdict::ObservedNoSecret => 5,
        Verdict::Internal => 6,
    }
}

fn verdict(number: u32) -> Result<Verdict, Fault> {
    Ok(match number {
        1 => Verdict::VerifiedBody,
        2 => Verdict::VerifiedFirstElement,
        3 => Verdict::ObservedMissing,
        4 => Verdict::ObservedMismatch,
        5 => Verdict::ObservedNoSecret,
        6 => Verdict::Internal,
        _ => return Err(Fault::damaged("a verdict")),
    })
}

#[cfg(test)]
mod tests {
    use super::{Event, LogRecord, Message as _, Verdict, Verification, verdict, verdict_number};

    fn event() -> Event {
        Event {
            event_type: Some("track/a".into()),
            key: Some("k".into()),
            order_key: Some("user:1".into()),
            timestamp: Some("t".into()),
            unmappable: None,
            verification: Verification { verdict: Verdict::VerifiedFirstElement, covered: true },
            element: 3,
            headers: vec![("a".into(), "b".into())],
            body: "{}".into(),
        }
    }

    #[test]
    fn an_event_survives_the_disk() {
        let bytes = LogRecord::new(event()).encode_to_vec();
        assert_eq!(LogRecord::decode(&*bytes).unwrap().into_event().unwrap(), event());
        let short = Event { headers: vec![], body: "".into(), ..event() };
        assert_eq!(LogRecord::description(&event()).into_event().unwrap(), short);
    }

    #[test]
    fn every_verdict_has_its_own_number() {
        for number in 1..=6 {
            assert_eq!(verdict_number(verdict(number).unwrap()), number);
        }
        assert!(verdict(7).is_err());
    }
}
