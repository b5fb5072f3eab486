//! Identities of events and actions, as bytes (for stores) and as text (for people).

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::source::SourceHash;

/// Identity of one log entry. Sorted by acceptance inside a source; the store that gives it out
/// makes `(millis, sequence)` grow, whatever the clock does.
///
/// As text: `<millis, 12 hex>-<sequence, 4 hex>-<source, 16 hex>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Milliseconds since 1970 at acceptance, below 2^48.
    pub millis: u64,
    /// Tells events of one millisecond apart.
    pub sequence: u16,
    /// The source it belongs to.
    pub source: SourceHash,
}

/// Identity of one action: which event, which run of it (0 is the first, each replay adds one),
/// and which of the run's actions in planned order.
///
/// As text: `<event id>-<run>-<index>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId {
    /// The event.
    pub event: EventId,
    /// 0 for the first run.
    pub run: u16,
    /// Position in the run.
    pub index: u16,
}

/// Text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event id: these look like 019ac1f2b3c4-0000-0123456789abcdef")]
pub struct InvalidId(String);

impl EventId {
    /// The id in 16 bytes that sort by acceptance time: 6 of time, 2 of sequence, 8 of source.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.millis.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.source.0);
        bytes
    }

    /// The inverse of [`EventId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, source @ ..] = bytes;
        Self {
            millis: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            sequence: u16::from_be_bytes([g, h]),
            source: SourceHash(source),
        }
    }
}

impl ActionId {
    /// The id in 20 bytes: the event's 16, then run and index.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.event.to_bytes());
        bytes[16..18].copy_from_slice(&self.run.to_be_bytes());
        bytes[18..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// The inverse of [`ActionId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        let [event @ .., a, b, c, d] = bytes;
        Self {
            event: EventId::from_bytes(event),
            run: u16::from_be_bytes([a, b]),
            index: u16::from_be_bytes([c, d]),
        }
    }

    /// What consumers deduplicate on: the same for every attempt of this action, also for those
    /// after it was a dead letter, another one for a replay. 32 hex digits of SHA-256 over event id, run and mapping name.
    #[must_use]
    pub fn idempotency_key(self, mapping: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.event.to_bytes());
        hash.update(self.run.to_be_bytes());
        hash.update(mapping.as_bytes());
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = u64::from_be_bytes(self.source.0);
        write!(f, "{:012x}-{:04x}-{source:016x}", self.millis, self.sequence)
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.event, self.run, self.index)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidId(text.chars().take(100).collect());
        let parts: Vec<&str> = text.split('-').collect();
        let [millis, sequence, source] = parts[..] else { return Err(invalid()) };
        let hex = |part: &str, digits: usize| match part.bytes().all(|b| b.is_ascii_hexdigit()) {
            true if part.len() == digits => u64::from_str_radix(part, 16).map_err(|_| invalid()),
            _ => Err(invalid()),
        };
        Ok(Self {
            millis: hex(millis, 12)?,
            sequence: u16::try_from(hex(sequence, 4)?).map_err(|_| invalid())?,
            source: SourceHash(hex(source, 16)?.to_be_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ActionId, EventId};
    use crate::source::SourceHash;

    const ID: EventId = EventId {
        millis: 0x019a_c1f2_b3c4,
        sequence: 7,
        source: SourceHash([0, 1, 2, 3, 4, 5, 6, 255]),
    };

    #[test]
    fn ids_survive_bytes_and_text() {
        let action = ActionId { event: ID, run: 2, index: 300 };
        assert_eq!(EventId::from_bytes(ID.to_bytes()), ID);
        assert_eq!(ActionId::from_bytes(action.to_bytes()), action);
        assert_eq!(ID.to_string(), "019ac1f2b3c4-0007-00010203040506ff");
        assert_eq!(ID.to_string().parse(), Ok(ID));
        assert_eq!(action.to_string(), "019ac1f2b3c4-0007-00010203040506ff-2-300");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in [
            "",
            "x",
            "019ac1f2b3c4-0007",
            "19ac1f2b3c4-0007-00010203040506ff",
            "+19ac1f2b3c4-0007-00010203040506ff",
        ] {
            assert!(bad.parse::<EventId>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_replay_has_another_idempotency_key() {
        let key = |run, mapping| ActionId { event: ID, run, index: 0 }.idempotency_key(mapping);
        assert_eq!(key(0, "a"), key(0, "a"));
        assert_ne!(key(0, "a"), key(1, "a"));
        assert_ne!(key(0, "a"), key(0, "b"));
        assert_eq!(key(0, "a").len(), 32);
    }
}
