//! Values that only this engine has on disk. Those that every store has are in
//! [`crate::records`], keys in [`super::keys`]. A field's number is never used again for something
//! else.

use prost::Message;
use segment_source_core::event::EventId;

use crate::{
    contract::{Millis, Receipt},
    fault::Fault,
};

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

#[cfg(test)]
mod tests {
    use super::{Claim, EventId, Receipt};

    #[test]
    fn a_claim_survives_the_disk() {
        let claim =
            Claim { expires: 5, event: EventId::from_bytes([1; 16]), receipt: Receipt([2; 16]) };
        assert_eq!(Claim::from_bytes(&claim.to_bytes()).unwrap(), claim);
    }
}
