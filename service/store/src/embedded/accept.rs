//! Events into the log: claim of key or receipt, and entry. What a claim means is in
//! [`super`]; batching is [`super::writer`]'s.

use prost::Message;
use segment_source_core::source::SourceId;

use super::{
    keys::Space,
    numbers::Numbers,
    stored::{Claim, SourceRecord},
    txn::Txn,
};
use crate::{
    contract::{Accepted, Millis, NewEvent, Receipt},
    fault::Fault,
    fingerprint::{Fingerprint, Fingerprints},
    records::LogRecord,
};

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
        let (fingerprint, window) = fingerprints.claim(&new);
        let NewEvent { source, receipt, event, .. } = new;
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
