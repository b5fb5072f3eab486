//! Events into the log: claim of key or receipt, and entry. What a claim means is in
//! [`super`]; batching is [`super::writer`]'s.

use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use segment_source_core::source::SourceId;
use sha2::Sha256;

use super::{
    fault::Fault,
    keys::Space,
    numbers::Numbers,
    records::{Claim, LogRecord, SourceRecord},
    txn::Txn,
};
use crate::contract::{Accepted, Millis, NewEvent, RECEIPT_WINDOW, Receipt};

/// Makes fingerprints of keys: nobody who does not have the store can tell which key one stands
/// for, or choose two keys that share one.
#[derive(Clone)]
pub(super) struct Fingerprints(Hmac<Sha256>);

/// HMAC-SHA256, the first 16 bytes.
type Fingerprint = [u8; 16];

impl Fingerprints {
    pub(super) fn new(key: [u8; 32]) -> Self {
        // HMAC fills shorter keys up with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        Self(Hmac::new(&block.into()))
    }

    /// Each part preceded by its length, so that no two lists of parts are the same bytes.
    fn of(&self, kind: u8, parts: &[&[u8]]) -> Fingerprint {
        let mut mac = self.0.clone();
        mac.update(&[kind]);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        fingerprint
    }
}

/// A new event with everything done that needs no order.
pub(super) struct Prepared {
    source: SourceId,
    receipt: Receipt,
    fingerprint: Fingerprint,
    claimed_for: Millis,
    /// What a duplicate keeps.
    description: LogRecord,
    /// The encoded record of a new event.
    record: Vec<u8>,
}

impl Prepared {
    pub(super) fn new(fingerprints: &Fingerprints, new: NewEvent) -> Self {
        let NewEvent { source, receipt, window, event } = new;
        let (fingerprint, window) = match (&event.key, window) {
            (Some(key), Some(window)) => {
                let event_type = event.event_type.as_deref().unwrap_or_default();
                let scope = [source.as_str(), event_type, key].map(str::as_bytes);
                (fingerprints.of(b'k', &scope), window)
            }
            _ => (fingerprints.of(b'r', &[source.as_str().as_bytes(), &receipt.0]), RECEIPT_WINDOW),
        };
        Self {
            source,
            receipt,
            fingerprint,
            claimed_for: u64::try_from(window.as_millis()).unwrap_or(Millis::MAX),
            description: LogRecord::description(&event),
            record: LogRecord::new(event).encode_to_vec(),
        }
    }

    /// Roughly what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        self.record.len()
    }

    pub(super) fn source(&self) -> &SourceId {
        &self.source
    }

    /// Looks for a live claim, and writes the entry.
    pub(super) fn accept(
        self,
        txn: &mut Txn<'_>,
        numbers: &mut Numbers,
        now: Millis,
    ) -> Result<Accepted, Fault> {
        let claim = match txn.get(Space::Claims, &self.fingerprint)? {
            Some(claim) => Some(Claim::from_bytes(&claim)?).filter(|claim| now < claim.expires),
            None => None,
        };
        if let Some(claim) = claim
            && claim.receipt == self.receipt
        {
            return Ok(Accepted::New(claim.event));
        }
        let source = self.source.hash();
        let entry = numbers.event_id(now, source);
        let (accepted, record) = match claim {
            Some(claim) => {
                let mut record = self.description;
                record.duplicate_of = Some(claim.event.to_bytes().to_vec());
                (Accepted::Duplicate { entry, original: claim.event }, record.encode_to_vec())
            }
            None => {
                let expires = now.saturating_add(self.claimed_for);
                let claim = Claim { expires, event: entry, receipt: self.receipt };
                txn.put(Space::Claims, &self.fingerprint, claim.to_bytes().to_vec());
                (Accepted::New(entry), self.record)
            }
        };
        let day = txn.engine.day_or_create(entry.millis)?;
        numbers.grew(source, record.len());
        txn.add_entry(day.log, entry, record);
        let name = self.source.as_str().to_owned();
        let newest = SourceRecord { name, newest: entry.to_bytes().to_vec() };
        txn.put(Space::Sources, &source.0, newest.encode_to_vec());
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprints;

    #[test]
    fn fingerprints_tell_parts_and_keys_apart() {
        let one = Fingerprints::new([1; 32]);
        assert_eq!(one.of(b'k', &[b"a", b"bc"]), one.of(b'k', &[b"a", b"bc"]));
        assert_ne!(one.of(b'k', &[b"a", b"bc"]), one.of(b'k', &[b"ab", b"c"]));
        assert_ne!(one.of(b'k', &[b"a"]), one.of(b'r', &[b"a"]));
        assert_ne!(one.of(b'k', &[b"a"]), Fingerprints::new([2; 32]).of(b'k', &[b"a"]));
    }
}
