//! Which headers of a request are kept with its events.

use http::{HeaderMap, header};
use segment_source_core::event::HEADERS_NOT_KEPT;
use segment_source_proto::event::v1::Header;

/// The header that carries the signature.
pub(crate) const SIGNATURE: &str = "x-signature";

/// All headers in lower case but [`HEADERS_NOT_KEPT`] and the source's required secret header. A value that is not UTF-8 is
/// kept with U+FFFD. Their total size is bounded by what a connection reads as a head.
pub(crate) fn kept(headers: &HeaderMap, required: Option<&str>) -> Vec<Header> {
    let is_secret = |name: &str| HEADERS_NOT_KEPT.contains(&name) || Some(name) == required;
    headers
        .iter()
        .filter(|(name, _)| !is_secret(name.as_str()))
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect()
}

/// Whether the body is sent as it is, not compressed.
pub(crate) fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{is_identity, kept};

    fn map(headers: &[(&str, &[u8])]) -> HeaderMap {
        let pairs = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn what_proves_or_grants_something_is_not_kept() {
        let headers = map(&[
            ("X-Signature", b"00"),
            ("Authorization", b"Bearer x"),
            ("Proxy-Authorization", b"Basic x"),
            ("Cookie", b"a=b"),
            ("X-Token", b"secret"),
            ("User-Agent", b"Segment (Actions)"),
            ("X-Place", b"caf\xe9"),
        ]);
        let names = |required| -> Vec<(String, String)> {
            kept(&headers, required).into_iter().map(|h| (h.name, h.value)).collect()
        };
        let agent = ("user-agent".to_owned(), "Segment (Actions)".to_owned());
        let place = ("x-place".to_owned(), "caf\u{fffd}".to_owned());
        let token = ("x-token".to_owned(), "secret".to_owned());
        assert_eq!(names(Some("x-token")), [agent.clone(), place.clone()]);
        assert_eq!(names(None), [token, agent, place]);
    }

    #[test]
    fn only_identity_is_no_encoding() {
        let check = |values: &[&[u8]], expected| {
            let headers: Vec<(&str, &[u8])> =
                values.iter().map(|value| ("content-encoding", *value)).collect();
            assert_eq!(is_identity(&map(&headers)), expected, "{values:?}");
        };
        check(&[], true);
        check(&[b"identity"], true);
        check(&[b"Identity, "], true);
        check(&[b"gzip"], false);
        check(&[b"identity, gzip"], false);
        check(&[b"identity", b"br"], false);
    }
}
