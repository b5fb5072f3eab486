//! Signed requests made fast: all bytes are made once, and for each event only its numbers and the
//! signature are written anew.

use anyhow::Context as _;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// In a text: sixteen hexadecimal digits that tell one start of a generator from others.
pub const RUN: &str = "{run}";
/// In a text: the number of the event, sixteen hexadecimal digits.
pub const EVENT: &str = "{n}";
/// In a text: the number of its user, eight decimal digits.
pub const USER: &str = "{user}";

/// The signature's bytes, before they are written as hexadecimal digits.
pub type Signature = [u8; 20];

/// A request whose event is another one each time.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    keyed: Hmac<Sha1>,
    body: usize,
    signature: usize,
    /// Where each of the three stands.
    places: [Vec<usize>; 3],
}

impl Template {
    /// A POST to `target` of this body, in which [`RUN`], [`EVENT`] and [`USER`] stand for numbers.
    ///
    /// # Errors
    /// Never in fact: HMAC takes keys of every length.
    pub fn new(target: &str, secret: &str, body: &str) -> anyhow::Result<Self> {
        let mut places = [Vec::new(), Vec::new(), Vec::new()];
        let mut text = body.to_owned();
        while let Some((at, kind, mark, width)) = [(RUN, 16), (EVENT, 16), (USER, 8)]
            .iter()
            .enumerate()
            .filter_map(|(kind, (mark, width))| Some((text.find(mark)?, kind, mark, *width)))
            .min()
        {
            text.replace_range(at..at + mark.len(), &"0".repeat(width));
            places[kind].push(at);
        }
        let head = format!(
            "POST {target} HTTP/1.1\r\nuser-agent: Segment (Actions)\r\nx-signature: {}\r\ncontent-type: application/json\r\nAccept: */*\r\nContent-Length: {}\r\nHost: localhost\r\n\r\n",
            "0".repeat(40),
            text.len()
        );
        let mark = "x-signature: ";
        let signature = head.find(mark).context("the request has no signature")? + mark.len();
        places.iter_mut().flatten().for_each(|at| *at += head.len());
        let body = head.len();
        let bytes = (head + &text).into_bytes();
        let keyed = Hmac::new_from_slice(secret.as_bytes())?;
        Ok(Self { bytes, keyed, body, signature, places })
    }

    /// Writes the numbers of an event; the signature is still that of the one before.
    pub fn fill(&mut self, run: u64, event: u64, user: u64) {
        let [runs, events, users] = &self.places;
        for (places, number) in [(runs, run), (events, event)] {
            for at in places {
                hex(&mut self.bytes[*at..at + 16], &number.to_be_bytes());
            }
        }
        for at in users {
            let mut user = user;
            for digit in self.bytes[*at..at + 8].iter_mut().rev() {
                *digit = b'0' + (user % 10) as u8;
                user /= 10;
            }
        }
    }

    /// The right signature of the event that was written last.
    #[must_use]
    pub fn signature(&self) -> Signature {
        let mut mac = self.keyed.clone();
        mac.update(&self.bytes[self.body..]);
        mac.finalize().into_bytes().into()
    }

    /// The whole request with this signature.
    pub fn signed(&mut self, signature: &Signature) -> &[u8] {
        hex(&mut self.bytes[self.signature..self.signature + 40], signature);
        &self.bytes
    }

    /// The event that was written last.
    #[must_use]
    pub fn event(&self) -> &[u8] {
        &self.bytes[self.body..]
    }
}

fn hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}
