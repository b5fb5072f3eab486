//! Signing secrets and signatures. None of them can be printed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A source has at most this many live signing secrets.
pub const MAX_SECRETS: usize = 4;

/// A shared secret that is not empty, its HMAC key schedule prepared once.
#[derive(Clone)]
pub struct Secret {
    // Kept to explain mismatches and to see whether new configuration has the same secret.
    text: Box<[u8]>,
    keyed: Hmac<Sha1>,
}

impl Secret {
    /// Takes the secret's bytes as they are (Segment uses the UTF-8 bytes of what was typed in).
    /// `None` when there are none: an empty secret never verifies anything.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        // HMAC takes keys of every length.
        let keyed = Hmac::new_from_slice(text).ok()?;
        Some(Self { text: text.into(), keyed })
    }

    /// The signature Segment would send for `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.keyed.clone().chain_update(message).finalize().into_bytes().into())
    }

    /// Whether `signature` is right for `message`. Takes the same time wherever they differ.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.verifies_parts([message], signature)
    }

    /// Whether `signature` is right for the message that `parts` make when joined.
    pub(super) fn verifies_parts<'a>(
        &self,
        parts: impl IntoIterator<Item = &'a [u8]>,
        signature: &Signature,
    ) -> bool {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.verify_slice(&signature.0).is_ok()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

impl PartialEq for Secret {
    /// Compares configuration with configuration, never with what a request brings: it tells by
    /// its duration where two secrets differ.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The live secrets of a source: 0 to [`MAX_SECRETS`], any of them may match.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Secret>);

/// More than [`MAX_SECRETS`] secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} signing secrets: a source has at most {MAX_SECRETS}")]
pub struct TooManySecrets(usize);

impl Secrets {
    /// Takes the secrets of a source.
    ///
    /// # Errors
    /// When there are more than [`MAX_SECRETS`].
    pub fn new(secrets: Vec<Secret>) -> Result<Self, TooManySecrets> {
        match secrets.len() {
            0..=MAX_SECRETS => Ok(Self(secrets)),
            many => Err(TooManySecrets(many)),
        }
    }

    /// Whether there is nothing to verify with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secrets one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// The position of the first secret that verifies `message`. All are tried, so that the
    /// duration does not tell which.
    #[must_use]
    pub fn signer(&self, message: &[u8], signature: &Signature) -> Option<usize> {
        self.0.iter().enumerate().fold(None, |found, (position, secret)| {
            let verifies = secret.verifies(message, signature);
            found.or(verifies.then_some(position))
        })
    }
}

impl PartialEq for Secrets {
    /// Equal when they hold the same secrets in any order.
    fn eq(&self, other: &Self) -> bool {
        let all_in = |a: &Self, b: &Self| a.0.iter().all(|secret| b.0.contains(secret));
        all_in(self, other) && all_in(other, self)
    }
}

impl Eq for Secrets {}

/// 20 bytes of HMAC-SHA1.
#[derive(Clone)]
pub struct Signature([u8; 20]);

impl Signature {
    /// Reads the header's form: exactly 40 lower-case hex digits, no prefix, no spaces.
    #[must_use]
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if text.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The header's form, for senders.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(redacted)")
    }
}

/// The second secret that comes with batches: a header with a fixed value, set in Segment's
/// mapping.
#[derive(Clone, PartialEq, Eq)]
pub struct RequiredHeader {
    name: Box<str>,
    value: Option<Secret>,
}

impl RequiredHeader {
    /// A header `name` (any case) that must have `value`. While `value` is empty, because its
    /// Secret is missing, nothing matches.
    #[must_use]
    pub fn new(name: &str, value: &[u8]) -> Self {
        Self { name: name.to_ascii_lowercase().into(), value: Secret::new(value) }
    }

    /// The name in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its value is known.
    #[must_use]
    pub(crate) fn is_loaded(&self) -> bool {
        self.value.is_some()
    }

    /// Whether `given` is the value. Compares MACs, so that the duration tells neither where the
    /// two differ nor how long the right one is.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        let Some(value) = &self.value else { return false };
        value.verifies(given, &value.sign(value.text()))
    }
}

impl fmt::Debug for RequiredHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequiredHeader({}, redacted)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::{RequiredHeader, Secret, Secrets, Signature};

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_signature_is_exactly_forty_lower_case_hex_digits() {
        let right = "d1fb7221057f210c0b891a243033630506c3b633";
        assert_eq!(Signature::from_hex(right.as_bytes()).unwrap().to_hex(), right);
        for wrong in [
            "",
            &right[..39],
            &format!("{right}0"),
            &right.to_uppercase(),
            &format!("sha1={right}"),
            &format!(" {}", &right[1..]),
            &right.replace('d', "g"),
            &"é".repeat(20),
        ] {
            assert!(Signature::from_hex(wrong.as_bytes()).is_none(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn signing_is_hmac_sha1() {
        // RFC 2202, test cases 2 and 6.
        let check = |key: &[u8], message: &str, hex: &str| {
            assert_eq!(Secret::new(key).unwrap().sign(message.as_bytes()).to_hex(), hex);
        };
        check(b"Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        check(
            &[0xaa; 80],
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        );
    }

    #[test]
    fn any_live_secret_verifies_and_an_empty_one_does_not_exist() {
        let secrets = Secrets::new(vec![secret("a"), secret("b"), secret("ключ")]).unwrap();
        for (position, signer) in ["a", "b", "ключ"].into_iter().enumerate() {
            let found = secrets.signer(b"x", &secret(signer).sign(b"x"));
            assert_eq!(found, Some(position), "{signer}");
        }
        assert_eq!(secrets.signer(b"x", &secret("c").sign(b"x")), None);
        assert_eq!(secrets.signer(b"y", &secret("a").sign(b"x")), None);
        assert_eq!(Secrets::default().signer(b"x", &secret("a").sign(b"x")), None);
        assert!(Secret::new(b"").is_none());
        assert!(Secrets::new(vec![secret("a"); 5]).is_err());
    }

    #[test]
    fn secrets_are_compared_as_a_set() {
        let set = |texts: &[&str]| Secrets::new(texts.iter().map(|t| secret(t)).collect()).unwrap();
        assert_eq!(set(&["a", "b"]), set(&["b", "a"]));
        assert_ne!(set(&["a", "b"]), set(&["a"]));
        assert_ne!(set(&["a"]), set(&["a", "b"]));
        assert_ne!(set(&[]), set(&["a"]));
    }

    #[test]
    fn a_required_header_matches_its_value_only() {
        let header = RequiredHeader::new("X-Token", b"t0p");
        assert_eq!(header.name(), "x-token");
        assert!(header.matches(b"t0p"));
        for wrong in ["", "t0", "t0p ", "T0P"] {
            assert!(!header.matches(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!RequiredHeader::new("x-token", b"").matches(b""));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secrets = Secrets::new(vec![secret("hush")]).unwrap();
        let printed = format!(
            "{secrets:?} {:?} {:?}",
            secret("hush").sign(b"x"),
            RequiredHeader::new("x-token", b"hush")
        );
        assert_eq!(
            printed,
            "Secrets([Secret(redacted)]) Signature(redacted) RequiredHeader(x-token, redacted)"
        );
    }
}
