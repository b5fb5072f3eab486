//! Why a signature may not match, for people who set it up. Explains and never accepts: nothing
//! here can make a [`VerifiedRequest`](super::VerifiedRequest).

use base64::{Engine, engine::general_purpose};

use super::{
    ReceivedRequest, Secret, Secrets,
    elements::{self, is_whitespace},
};

/// What a signature that does not match would have matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hint {
    /// A secret that was live before.
    PreviousSecret,
    /// A live secret with a newline more or less at its end, as files have it.
    TrailingNewline,
    /// A live secret in its Base64 form, or decoded from it, as Kubernetes manifests have it.
    Base64,
    /// The body without whitespace: something on the way has re-encoded it.
    ReencodedBody,
    /// The first element of a batch, which the source's policy does not accept.
    FirstElement,
}

impl Hint {
    /// A short name for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreviousSecret => "previous_secret",
            Self::TrailingNewline => "trailing_newline",
            Self::Base64 => "base64",
            Self::ReencodedBody => "reencoded_body",
            Self::FirstElement => "first_element",
        }
    }

    /// What it means, in a sentence for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::PreviousSecret => {
                "the signature matches a secret that is no longer listed: keep the old secret \
                 beside the new one until Segment has the new one"
            }
            Self::TrailingNewline => {
                "the signature matches the secret with one newline more or less at its end: \
                 remove it where the secret is stored"
            }
            Self::Base64 => {
                "the signature matches the secret in another Base64 form: it was encoded once \
                 too often, or not often enough"
            }
            Self::ReencodedBody => {
                "the signature matches the body without its whitespace: something between \
                 Segment and here re-encodes bodies"
            }
            Self::FirstElement => {
                "the signature matches the first element of the batch: `batches.policy` is not \
                 FirstElement"
            }
        }
    }
}

/// Looks for a reason why the request's signature does not match. `previous` are secrets that
/// were live before. Costs about 30 times a verification: callers bound how often, and for which
/// sizes, they ask.
#[must_use]
pub fn explain<'s>(
    request: &ReceivedRequest,
    live: &Secrets,
    previous: impl IntoIterator<Item = &'s Secret>,
) -> Option<Hint> {
    let signature = request.signature()?;
    let body = request.body();
    let first = elements::split(body)
        .filter(|split| split.compact)
        .and_then(|split| split.ranges.first().cloned())
        .map(|range| &body[range]);
    let signed = |secret: &Secret| {
        secret.verifies(body, signature)
            || first.is_some_and(|first| secret.verifies(first, signature))
    };
    let any = |variants: fn(&Secret) -> Vec<Secret>| {
        live.iter().any(|secret| variants(secret).iter().any(signed))
    };
    let compact = || live.iter().any(|s| s.verifies_parts(without_whitespace(body), signature));
    let first_element =
        || first.is_some_and(|first| live.iter().any(|s| s.verifies(first, signature)));

    if previous.into_iter().any(signed) {
        Some(Hint::PreviousSecret)
    } else if first_element() {
        Some(Hint::FirstElement)
    } else if any(newline_variants) {
        Some(Hint::TrailingNewline)
    } else if any(base64_variants) {
        Some(Hint::Base64)
    } else if compact() {
        Some(Hint::ReencodedBody)
    } else {
        None
    }
}

fn newline_variants(secret: &Secret) -> Vec<Secret> {
    let text = secret.text();
    let trimmed = text.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let variants = [Some([text, b"\n"].concat()), trimmed.map(<[u8]>::to_vec)];
    variants.into_iter().flatten().filter_map(|text| Secret::new(&text)).collect()
}

fn base64_variants(secret: &Secret) -> Vec<Secret> {
    let text = secret.text();
    let decoded = general_purpose::STANDARD.decode(text.trim_ascii()).ok();
    let variants = [
        Some(general_purpose::STANDARD.encode(text).into_bytes()),
        Some(general_purpose::STANDARD.encode([text, b"\n"].concat()).into_bytes()),
        decoded.as_deref().and_then(|text| text.strip_suffix(b"\n")).map(<[u8]>::to_vec),
        decoded,
    ];
    variants.into_iter().flatten().filter_map(|text| Secret::new(&text)).collect()
}

/// The pieces of `body` between the whitespace outside of its strings.
fn without_whitespace(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    body.split(move |&byte| {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', byte == b'\\' && !escaped);
            return false;
        }
        quoted = byte == b'"';
        is_whitespace(byte)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::SignatureHeader, Hint, ReceivedRequest, Secret, Secrets, explain};

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).unwrap()
    }

    /// The sender signs `signed` with `theirs`, and `body` arrives where `ours` is live.
    fn check(theirs: &str, signed: &str, ours: &str, body: &str, hint: Option<Hint>) {
        let signature = SignatureHeader::Present(secret(theirs).sign(signed.as_bytes()));
        let request = ReceivedRequest::new(Bytes::copy_from_slice(body.as_bytes()), signature);
        let live = Secrets::new(vec![secret("other"), secret(ours)]).unwrap();
        let found = explain(&request, &live, &[secret("old")]);
        assert_eq!(found, hint, "{theirs:?} {signed} for {ours:?} {body}");
    }

    #[test]
    fn mismatches_are_explained() {
        let body = r#"{"a":"b c\" d"}"#;
        check("old", body, "new", body, Some(Hint::PreviousSecret));
        check("s", body, "s\n", body, Some(Hint::TrailingNewline));
        check("s", body, "s\r\n", body, Some(Hint::TrailingNewline));
        check("s\n", body, "s", body, Some(Hint::TrailingNewline));
        check("secret", body, "c2VjcmV0", body, Some(Hint::Base64));
        check("secret", body, "c2VjcmV0Cg==\n", body, Some(Hint::Base64));
        check("c2VjcmV0", body, "secret", body, Some(Hint::Base64));
        let pretty = "{ \"a\":\n\t\"b c\\\" d\" }\n";
        check("s", body, "s", pretty, Some(Hint::ReencodedBody));
        check("s", "{}", "s", "[{},1]", Some(Hint::FirstElement));
        check("s\n", "{}", "s", "[{},1]", Some(Hint::TrailingNewline));
        check("unknown", body, "s", body, None);
        check("s", "{\"x\":1}", "s", body, None);
        check("s", "", "s", " ", Some(Hint::ReencodedBody));
    }

    #[test]
    fn without_a_signature_there_is_nothing_to_explain() {
        for signature in [SignatureHeader::Missing, SignatureHeader::Malformed] {
            let request = ReceivedRequest::new(Bytes::new(), signature);
            assert_eq!(explain(&request, &Secrets::default(), &[secret("s")]), None);
        }
    }
}
