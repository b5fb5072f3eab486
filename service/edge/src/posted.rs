//! A verified request on its way to ingest.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use segment_source_core::{event::Verdict, signature::VerifiedRequest, source::SourceId};
use segment_source_proto::{
    event::v1::{self as event, Header},
    ingest::v1::Submission,
};

use crate::body::Claim;

/// What one batch may hold: this many events, and this many bytes unless it is a single event.
pub(crate) const BATCH_EVENTS: usize = 256;
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Added to an event's size for its names, receipt and lengths.
const OVERHEAD: usize = 256;

/// Makes receipts: 8 random bytes of this process, then a counter. They name submissions, prove
/// nothing and need not be unguessable, since ingest believes the edge anyway. Two edges draw the
/// same 8 bytes once in 2^64 starts.
#[derive(Debug)]
pub(crate) struct Receipts {
    process: [u8; 8],
    next: AtomicU64,
}

impl Receipts {
    /// # Errors
    /// When the operating system has no random numbers.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut process = [0; 8];
        getrandom::fill(&mut process)?;
        Ok(Self { process, next: AtomicU64::new(0) })
    }

    /// Reserves receipts for so many events.
    pub(crate) fn reserve(&self, events: usize) -> FirstReceipt {
        let number = self.next.fetch_add(events as u64, Ordering::Relaxed);
        FirstReceipt { process: self.process, number }
    }
}

/// The receipt of a request's first event; the others follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstReceipt {
    process: [u8; 8],
    number: u64,
}

impl FirstReceipt {
    fn of(self, index: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(16);
        bytes.put_slice(&self.process);
        bytes.put_u64(self.number.wrapping_add(index as u64));
        bytes.freeze()
    }
}

/// A verified request, until it is answered. Its bytes are freed as soon as nobody waits for it.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) source: SourceId,
    pub(crate) headers: Vec<Header>,
    pub(crate) request: VerifiedRequest,
    pub(crate) receipts: FirstReceipt,
    /// Pays for the body until this is dropped.
    pub(crate) _claim: Claim,
}

/// A part of a request that fits into one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) elements: Range<usize>,
    pub(crate) bytes: usize,
}

impl Posted {
    /// Cuts the request into parts, in the order of its events.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let headers: usize =
            self.headers.iter().map(|h| h.name.len() + h.value.len() + OVERHEAD / 16).sum();
        let mut parts: Vec<Part> = Vec::new();
        for index in 0..self.request.len() {
            let bytes = self.request.size(index) + headers + OVERHEAD;
            match parts.last_mut() {
                Some(part)
                    if part.elements.len() < BATCH_EVENTS && part.bytes + bytes <= BATCH_BYTES =>
                {
                    part.elements.end += 1;
                    part.bytes += bytes;
                }
                _ => parts.push(Part { elements: index..index + 1, bytes }),
            }
        }
        parts
    }

    /// These events as ingest takes them. Every call gives the same receipts.
    pub(crate) fn submissions(&self, elements: Range<usize>) -> impl Iterator<Item = Submission> {
        self.request.elements(elements).map(|element| Submission {
            namespace: self.source.namespace().to_owned(),
            name: self.source.name().to_owned(),
            receipt: self.receipts.of(element.index),
            body: element.bytes,
            headers: self.headers.clone(),
            verdict: verdict(element.verification.verdict).into(),
            covered: element.verification.covered,
            element: u32::try_from(element.index).unwrap_or(u32::MAX),
        })
    }
}

fn verdict(verdict: Verdict) -> event::Verdict {
    match verdict {
        Verdict::VerifiedBody => event::Verdict::VerifiedBody,
        Verdict::VerifiedFirstElement => event::Verdict::VerifiedFirstElement,
        Verdict::ObservedMissing => event::Verdict::ObservedMissing,
        Verdict::ObservedMismatch => event::Verdict::ObservedMismatch,
        Verdict::ObservedNoSecret => event::Verdict::ObservedNoSecret,
        // No result of verification.
        Verdict::Internal => event::Verdict::Internal,
    }
}
