//! Fingerprints of keys and receipts: what a store keeps instead of them, and looks them up by.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::contract::{NewEvent, RECEIPT_WINDOW};

/// Makes fingerprints of keys: nobody who does not have the store can tell which key one stands
/// for, or choose two keys that share one.
#[derive(Clone)]
pub(crate) struct Fingerprints(Hmac<Sha256>);

/// HMAC-SHA256, the first 16 bytes.
pub(crate) type Fingerprint = [u8; 16];

impl Fingerprints {
    pub(crate) fn new(key: [u8; 32]) -> Self {
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

    /// Of what a new event claims: its key, scoped by source and event type, or else its receipt; and
    /// for how long.
    pub(crate) fn claim(&self, new: &NewEvent) -> (Fingerprint, Duration) {
        let NewEvent { source, receipt, window, event } = new;
        let source = source.as_str().as_bytes();
        match (&event.key, window) {
            (Some(key), Some(window)) => {
                let event_type = event.event_type.as_deref().unwrap_or_default();
                (self.of(b'k', &[source, event_type.as_bytes(), key.as_bytes()]), *window)
            }
            _ => (self.of(b'r', &[source, &receipt.0]), RECEIPT_WINDOW),
        }
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
