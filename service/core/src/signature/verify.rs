//! From bytes that somebody sent to events that may be used.

use std::{fmt, ops::Range};

use bytes::Bytes;

use super::{
    elements::{self, Split},
    secret::{RequiredHeader, Secrets, Signature},
};
use crate::event::{Verdict, Verification};

/// How a source verifies.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What happens to requests that fail.
    pub mode: Mode,
    /// Any of them may match.
    pub secrets: Secrets,
    /// What happens to arrays.
    pub batches: Batches,
}

/// What happens to requests that fail verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are refused.
    Enforce,
    /// They pass, with a verdict that says what was found.
    Observe,
}

/// What happens to bodies that are JSON arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batches {
    /// They are refused.
    Reject,
    /// The signature must cover the whole array.
    WholeBody,
    /// The whole array; or its first element, which is what Segment signs, together with this
    /// header.
    FirstElement(RequiredHeader),
}

/// What stood in the `X-Signature` headers.
#[derive(Clone, Debug)]
pub enum SignatureHeader {
    /// There was none.
    Missing,
    /// More than one, or not 40 lower-case hex digits.
    Malformed,
    /// A signature, right or wrong.
    Present(Signature),
}

impl SignatureHeader {
    /// Reads the values of all headers of that name.
    pub fn read<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Missing,
            (Some(value), None) => {
                Signature::from_hex(value).map_or(Self::Malformed, Self::Present)
            }
            (Some(_), Some(_)) => Self::Malformed,
        }
    }
}

/// A request as it came in: anybody may have sent it, so it gives out no events.
pub struct ReceivedRequest {
    body: Bytes,
    signature: SignatureHeader,
    token: Option<Box<[u8]>>,
}

impl ReceivedRequest {
    /// The raw body and what the signature headers said.
    #[must_use]
    pub fn new(body: Bytes, signature: SignatureHeader) -> Self {
        Self { body, signature, token: None }
    }

    /// Adds the values of the source's required header; more than one is as wrong as none.
    #[must_use]
    pub fn with_token<'a>(mut self, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = values.into_iter();
        self.token = match (values.next(), values.next()) {
            (Some(value), None) => Some(value.into()),
            _ => None,
        };
        self
    }

    /// Holds the signature against the bytes. Checks in this order: is there a secret, is there a
    /// signature, are arrays allowed, does the signature match.
    ///
    /// # Errors
    /// In [`Mode::Enforce`], when one of these fails; the request comes back for an explanation.
    pub fn verify(self, rules: &Rules) -> Result<VerifiedRequest, Refused> {
        let mut split = Parts::new(&self.body);
        let mut signer = None;
        let verdict = match (self.judge(rules, &mut split, &mut signer), rules.mode) {
            (Ok(verdict), _) => verdict,
            (Err(refusal), Mode::Enforce) => {
                return Err(Refused { refusal, signer, request: self });
            }
            (Err(Refusal::NoSecret), Mode::Observe) => Verdict::ObservedNoSecret,
            (Err(Refusal::SignatureMissing), Mode::Observe) => Verdict::ObservedMissing,
            (Err(_), Mode::Observe) => Verdict::ObservedMismatch,
        };
        let ranges = split.into_ranges(self.body.len());
        Ok(VerifiedRequest { body: self.body, ranges, verdict, signer })
    }

    /// Also says which secret the signature is from, whatever else is wrong.
    fn judge(
        &self,
        rules: &Rules,
        parts: &mut Parts<'_>,
        signer: &mut Option<usize>,
    ) -> Result<Verdict, Refusal> {
        if rules.secrets.is_empty() {
            return Err(Refusal::NoSecret);
        }
        if matches!(self.signature, SignatureHeader::Missing) {
            return Err(Refusal::SignatureMissing);
        }
        // Observe accepts arrays whatever the policy, and says what the signature is worth.
        if parts.array && rules.batches == Batches::Reject && rules.mode == Mode::Enforce {
            return Err(Refusal::ArrayRefused);
        }
        let SignatureHeader::Present(signature) = &self.signature else {
            return Err(Refusal::SignatureMalformed);
        };
        *signer = rules.secrets.signer(&self.body, signature);
        if signer.is_some() {
            return Ok(Verdict::VerifiedBody);
        }
        let Batches::FirstElement(header) = &rules.batches else { return Err(Refusal::Mismatch) };
        let first = parts.first().map(|first| &self.body[first.clone()]);
        *signer = first.and_then(|first| rules.secrets.signer(first, signature));
        if signer.is_none() {
            return Err(Refusal::Mismatch);
        }
        if !header.is_loaded() {
            return Err(Refusal::RequiredHeaderNotLoaded);
        }
        match &self.token {
            Some(token) if header.matches(token) => Ok(Verdict::VerifiedFirstElement),
            _ => Err(Refusal::RequiredHeaderWrong),
        }
    }

    /// Length of the body in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn signature(&self) -> Option<&Signature> {
        match &self.signature {
            SignatureHeader::Present(signature) => Some(signature),
            SignatureHeader::Missing | SignatureHeader::Malformed => None,
        }
    }
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceivedRequest({} bytes)", self.body.len())
    }
}

/// The elements of a body, found once and only when somebody asks.
struct Parts<'a> {
    body: &'a [u8],
    array: bool,
    split: Option<Option<Split>>,
}

impl<'a> Parts<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self { body, array: elements::is_array(body), split: None }
    }

    fn split(&mut self) -> Option<&Split> {
        self.split.get_or_insert_with(|| elements::split(self.body)).as_ref()
    }

    /// Where the first element is, if that is well defined: the array can be split and has no
    /// whitespace between its elements, as Segment's serialiser writes it.
    fn first(&mut self) -> Option<&Range<usize>> {
        self.split().filter(|split| split.compact)?.ranges.first()
    }

    /// One range for each event. What cannot be split is one event that nothing can be made of:
    /// it is authentic, so it is kept.
    fn into_ranges(mut self, length: usize) -> Vec<Range<usize>> {
        self.split();
        match self.split.flatten() {
            Some(split) => split.ranges,
            None => vec![Range { start: 0, end: length }],
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The source has no secret to verify with (its Secret is missing).
    NoSecret,
    /// There is no signature header.
    SignatureMissing,
    /// The body is an array, and the source takes none.
    ArrayRefused,
    /// More than one signature header, or not 40 lower-case hex digits.
    SignatureMalformed,
    /// No live secret matches what has to be signed.
    Mismatch,
    /// The first element's signature is right, but the value of the required header is not known
    /// (its Secret is missing).
    RequiredHeaderNotLoaded,
    /// The first element's signature is right, but the required header is missing, doubled or
    /// wrong.
    RequiredHeaderWrong,
}

/// A request that did not pass.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// Position of the secret whose signature was right, when something else was wrong.
    pub signer: Option<usize>,
    /// For [`explain`](super::explain); still without its events.
    pub request: ReceivedRequest,
}

/// A request that passed verification, as events.
pub struct VerifiedRequest {
    body: Bytes,
    ranges: Vec<Range<usize>>,
    verdict: Verdict,
    signer: Option<usize>,
}

/// One event of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its raw bytes, a slice of the request's body.
    pub bytes: Bytes,
    /// Its position in the request, counted from 0.
    pub index: usize,
    /// What was found, and whether the signature covers this very element.
    pub verification: Verification,
}

impl VerifiedRequest {
    /// What was found.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Position of the secret whose signature was right.
    #[must_use]
    pub fn signer(&self) -> Option<usize> {
        self.signer
    }

    /// How many events there are; none in `[]`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many bytes the event at `index` has; 0 when there is none.
    #[must_use]
    pub fn size(&self, index: usize) -> usize {
        self.ranges.get(index).map_or(0, ExactSizeIterator::len)
    }

    /// The events at these positions, without copying them.
    pub fn elements(&self, positions: Range<usize>) -> impl Iterator<Item = Element> {
        positions.filter_map(|index| {
            Some(Element {
                bytes: self.body.slice(self.ranges.get(index)?.clone()),
                index,
                verification: self.verdict.of_element(index),
            })
        })
    }
}

impl fmt::Debug for VerifiedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedRequest({:?}, {} events)", self.verdict, self.len())
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
