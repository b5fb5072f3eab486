//! Values as they are on disk, and how they become values of the contract. Keys are in
//! [`super::keys`]. A field's number is never used again for something else.

use bytes::Bytes;
use prost::Message;
use segment_source_core::event::{ActionId, Event, EventId, Verdict, Verification};

use super::fault::Fault;
use crate::contract::{Action, Millis, Planned, Reason, Receipt};

/// A claimed key or receipt: `[expires 8][event 16][receipt 16]`. No message, because there are
/// more of these than of anything else and compaction reads all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The first moment at which it is over.
    pub(super) expires: Millis,
    /// The event that claimed it.
    pub(super) event: EventId,
    /// The submission that claimed it.
    pub(super) receipt: Receipt,
}

impl Claim {
    pub(super) fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.expires.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.event.to_bytes());
        bytes[24..].copy_from_slice(&self.receipt.0);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes: &[u8; 40] = bytes.try_into().map_err(|_| Fault::damaged("a claim"))?;
        let mut event = [0; 16];
        event.copy_from_slice(&bytes[8..24]);
        let mut receipt = [0; 16];
        receipt.copy_from_slice(&bytes[24..]);
        Ok(Self {
            expires: super::keys::number(bytes, 0),
            event: EventId::from_bytes(event),
            receipt: Receipt(receipt),
        })
    }
}

/// What grows and must never be used twice.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Counters {
    /// Of the newest event id.
    #[prost(uint64, tag = "1")]
    pub(super) millis: Millis,
    /// Of the newest event id.
    #[prost(uint32, tag = "2")]
    pub(super) sequence: u32,
    /// The last number given to a place in a lane or among the ready.
    #[prost(uint64, tag = "3")]
    pub(super) place: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SourceRecord {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Its newest entry, 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) newest: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    pub(super) first: String,
    #[prost(string, tag = "2")]
    pub(super) second: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct LogRecord {
    #[prost(string, optional, tag = "1")]
    pub(super) event_type: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) key: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) order_key: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) timestamp: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(super) unmappable: Option<String>,
    #[prost(uint32, tag = "6")]
    pub(super) verdict: u32,
    #[prost(bool, tag = "7")]
    pub(super) covered: bool,
    #[prost(uint32, tag = "8")]
    pub(super) element: u32,
    /// Name and value.
    #[prost(message, repeated, tag = "9")]
    pub(super) headers: Vec<Pair>,
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) body: Bytes,
    /// Set for a duplicate: the event it repeats, 16 bytes.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub(super) duplicate_of: Option<Vec<u8>>,
    /// Its content was removed on purpose; nothing is made of it any more.
    #[prost(bool, tag = "12")]
    pub(super) erased: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PlanRecord {
    #[prost(int64, tag = "1")]
    pub(super) generation: i64,
    /// Subject and message.
    #[prost(message, repeated, tag = "2")]
    pub(super) notes: Vec<Pair>,
}

/// Written once.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ActionRecord {
    #[prost(string, tag = "1")]
    pub(super) mapping: String,
    #[prost(string, tag = "2")]
    pub(super) action_type: String,
    #[prost(string, tag = "3")]
    pub(super) destination: String,
    #[prost(string, tag = "4")]
    pub(super) event_type: String,
    #[prost(string, tag = "5")]
    pub(super) event_timestamp: String,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(super) payload: Option<Bytes>,
}

/// The head of a lane, among the ready or the delayed.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Head {
    /// The lane, as a big-endian number.
    #[prost(fixed64, tag = "1")]
    pub(super) lane: u64,
    /// Its place in the lane.
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    /// As it stands in its lane.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) item: Vec<u8>,
    /// Leases of it that ended.
    #[prost(uint32, tag = "4")]
    pub(super) attempts: u32,
    /// When the first of them began, since it was planned or revived.
    #[prost(uint64, optional, tag = "5")]
    pub(super) first_attempt: Option<Millis>,
}

/// Where a lane's head stands.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Place {
    /// Set when it is among the delayed.
    #[prost(uint64, optional, tag = "1")]
    pub(super) due: Option<Millis>,
    /// Its number there.
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
}

impl LogRecord {
    /// Takes everything but headers and body.
    pub(super) fn description(event: &Event) -> Self {
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

    pub(super) fn new(event: Event) -> Self {
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

    pub(super) fn original(&self) -> Result<Option<EventId>, Fault> {
        self.duplicate_of.as_deref().map(event_id).transpose()
    }

    pub(super) fn into_event(self) -> Result<Event, Fault> {
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
        Self { generation: record.generation, notes }
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

pub(super) fn event_id(bytes: &[u8]) -> Result<EventId, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::damaged("an event id"))?;
    Ok(EventId::from_bytes(bytes))
}

/// An action in a lane: `[action 20][size 4]`, followed by `[attempts 4][since 8]` when it came
/// there later than its event came into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Which one.
    pub(super) action: ActionId,
    /// Bytes of its record.
    pub(super) size: u32,
    /// How it came there again: leases of it that had ended by then, and when that was.
    pub(super) again: Option<(u32, Millis)>,
}

impl Item {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = [self.action.to_bytes().as_slice(), &self.size.to_be_bytes()].concat();
        if let Some((attempts, since)) = self.again {
            bytes.extend(attempts.to_be_bytes());
            bytes.extend(since.to_be_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::damaged("a place in a lane");
        let (action, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (size, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let again = match rest.split_first_chunk() {
            None if rest.is_empty() => None,
            Some((attempts, since)) if since.len() == 8 => {
                Some((u32::from_be_bytes(*attempts), super::keys::number(since, 0)))
            }
            _ => return Err(damaged()),
        };
        let action = ActionId::from_bytes(*action);
        Ok(Self { action, size: u32::from_be_bytes(*size), again })
    }

    /// Since when it waits.
    pub(super) fn since(&self) -> Millis {
        self.again.map_or(self.action.event.millis, |(_, since)| since)
    }

    /// Leases of it that had ended when it came into its lane.
    pub(super) fn attempts(&self) -> u32 {
        self.again.map_or(0, |(attempts, _)| attempts)
    }
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
    use super::{
        ActionId, Claim, Event, EventId, Item, LogRecord, Message as _, Receipt, Verdict,
        Verification, verdict, verdict_number,
    };

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
    fn a_claim_survives_the_disk() {
        let claim =
            Claim { expires: 5, event: EventId::from_bytes([1; 16]), receipt: Receipt([2; 16]) };
        assert_eq!(Claim::from_bytes(&claim.to_bytes()).unwrap(), claim);
    }

    #[test]
    fn a_place_in_a_lane_survives_the_disk() {
        let action = ActionId { event: EventId::from_bytes([1; 16]), run: 2, index: 3 };
        for again in [None, Some((4, 5))] {
            let item = Item { action, size: 6, again };
            assert_eq!(Item::from_bytes(&item.to_bytes()).unwrap(), item);
            assert!(Item::from_bytes(&item.to_bytes()[1..]).is_err());
        }
    }

    #[test]
    fn every_verdict_has_its_own_number() {
        for number in 1..=6 {
            assert_eq!(verdict_number(verdict(number).unwrap()), number);
        }
        assert!(verdict(7).is_err());
    }
}
