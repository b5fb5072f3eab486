//! Where a message of HTTP/1.1 ends in a buffer, for the generators and endpoints of the benchmarks,
//! which have no time for more. A whole client, byte by byte, is `http`.

use std::borrow::Cow;

use anyhow::{Context as _, ensure};

/// A request or a reply that is there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the body begins.
    pub body: usize,
    /// Where the message ends.
    pub end: usize,
    /// Whether whoever sent it closes the connection after it.
    pub closes: bool,
    chunked: bool,
}

impl Message {
    /// The message that a buffer begins with, once all of it is there.
    ///
    /// # Errors
    /// When it does not say how long it is in a way that can be read.
    pub fn whole(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(body) = after(bytes, b"\r\n\r\n") else { return Ok(None) };
        let (mut length, mut chunked, mut closes) = (None, false, false);
        for line in bytes[..body].split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let text = std::str::from_utf8(value)?;
                    length = Some(text.parse::<usize>().context("a message has a strange length")?);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    chunked = value.eq_ignore_ascii_case(b"chunked");
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    closes = value.eq_ignore_ascii_case(b"close");
                }
                _ => {}
            }
        }
        if chunked {
            let end = chunks(bytes, body, |_| ())?;
            return Ok(end.map(|end| Self { body, end, closes, chunked }));
        }
        if length.is_none() {
            ensure!(status(bytes) == Some(204), "a message does not say how long it is");
        }
        let end = body + length.unwrap_or_default();
        Ok((bytes.len() >= end).then_some(Self { body, end, closes, chunked }))
    }

    /// The body, out of the buffer that this was found in.
    #[must_use]
    pub fn body_of<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.chunked {
            return Cow::Borrowed(&bytes[self.body..self.end]);
        }
        let mut whole = Vec::new();
        // It was read before without an error.
        _ = chunks(bytes, self.body, |chunk| whole.extend_from_slice(chunk));
        Cow::Owned(whole)
    }
}

/// The status of a reply.
#[must_use]
pub fn status(bytes: &[u8]) -> Option<u16> {
    bytes.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()
}

/// Where the chunks that begin there end, once all are there.
fn chunks(
    bytes: &[u8],
    mut at: usize,
    mut each: impl FnMut(&[u8]),
) -> anyhow::Result<Option<usize>> {
    loop {
        let Some(size) = after(&bytes[at..], b"\r\n") else { return Ok(None) };
        let digits = bytes[at..at + size].split(|byte| matches!(byte, b';' | b'\r')).next();
        let digits = std::str::from_utf8(digits.unwrap_or_default())?;
        let length = usize::from_str_radix(digits.trim(), 16).context("a chunk has no size")?;
        let (begin, end) = (at + size, at + size + length);
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        ensure!(&bytes[end..end + 2] == b"\r\n", "a chunk is too long, or a message has trailers");
        if length == 0 {
            return Ok(Some(end + 2));
        }
        each(&bytes[begin..end]);
        at = end + 2;
    }
}

/// Where what follows a mark begins.
#[must_use]
pub fn after(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some(at + mark.len())
}

/// The number that stands behind a mark, up to what is no digit.
#[must_use]
pub fn digits(bytes: &[u8], mark: &[u8], base: u32) -> Option<u64> {
    let rest = &bytes[after(bytes, mark)?..];
    let end = rest.iter().position(|byte| !char::from(*byte).is_digit(base))?;
    u64::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, base).ok()
}
