//! One request: all bytes are made once, and only messageId, user and signature are written anew
//! for each event.

use hmac::{Hmac, KeyInit, Mac};
use segment_source_tests::sign::SECRET;
use sha1::Sha1;

/// Name of the track event.
pub(crate) const NAME: &str = "Order Completed";
/// Different users, unless there are to be others; each is a lane.
pub(crate) const USERS: u64 = 10_000;

/// A request whose event is another one each time.
#[derive(Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    keyed: Hmac<Sha1>,
    body: usize,
    signature: usize,
    run: usize,
    id: usize,
    user: usize,
    users: u64,
}

impl Template {
    /// An event of `size` bytes for a source of the test namespace. `run` tells the ids of one
    /// start of the generator from those of another.
    pub(crate) fn new(source: &str, size: usize, run: u64, users: u64) -> anyhow::Result<Self> {
        let start = format!(
            r#"{{"type":"track","messageId":"load-{run:016x}-{:016x}","userId":"user-{:08}","event":"{NAME}","timestamp":"2026-03-02T10:15:30.220Z","properties":{{"order_id":"o-1001","revenue":39.95,"currency":"USD"}},"context":{{"library":{{"name":"@segment/analytics-node","version":"3.1.0"}},"filler":""#,
            0, 0
        );
        let room = size.saturating_sub(start.len() + 3);
        let body = format!("{start}{}\"}}}}", "x".repeat(room));
        let head = format!(
            "POST /v1/sources/{}/{source} HTTP/1.1\r\nuser-agent: Segment (Actions)\r\nx-signature: {}\r\ncontent-type: application/json\r\nAccept: */*\r\nContent-Length: {}\r\nHost: localhost\r\n\r\n",
            segment_source_tests::manifest::NAMESPACE,
            "0".repeat(40),
            body.len()
        );
        let text = head.clone() + &body;
        let after = |mark: &str| {
            let found = text.find(mark).map(|at| at + mark.len());
            found.ok_or_else(|| anyhow::anyhow!("the template has no {mark}"))
        };
        Ok(Self {
            keyed: Hmac::new_from_slice(SECRET.as_bytes())?,
            body: head.len(),
            signature: after("x-signature: ")?,
            run: after("load-")?,
            id: after(&format!("load-{run:016x}-"))?,
            user: after("\"userId\":\"user-")?,
            users,
            bytes: text.into_bytes(),
        })
    }

    /// The bytes of event number `n`, whose messageId tells when it was due instead of the run.
    pub(crate) fn event_due(&mut self, n: u64, micros: u64) -> &[u8] {
        hex(&mut self.bytes[self.run..self.run + 16], &micros.to_be_bytes());
        self.event(n)
    }

    /// The bytes of event number `n`.
    pub(crate) fn event(&mut self, n: u64) -> &[u8] {
        hex(&mut self.bytes[self.id..self.id + 16], &n.to_be_bytes());
        let mut user = n % self.users;
        for digit in self.bytes[self.user..self.user + 8].iter_mut().rev() {
            *digit = b'0' + (user % 10) as u8;
            user /= 10;
        }
        let mut mac = self.keyed.clone();
        mac.update(&self.bytes[self.body..]);
        let mac = mac.finalize().into_bytes();
        hex(&mut self.bytes[self.signature..self.signature + 40], &mac);
        &self.bytes
    }
}

fn hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}
