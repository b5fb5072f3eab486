//! Lenient reading of JSON bytes.

use std::borrow::Cow;

use indexmap::IndexMap;
use jiter::{Jiter, JiterError, Peek};

use super::Value;

/// Arrays and objects may be nested this deep; deeper input is not read.
pub(crate) const MAX_DEPTH: usize = 128;

/// Why bytes are not JSON, in words for a person. Holds nothing of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not JSON at all.
    #[error("not JSON: {message} at byte {offset}")]
    Syntax {
        /// What was expected.
        message: String,
        /// Where, counted from 0.
        offset: usize,
    },
    /// Nested deeper than 128 levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Reads one JSON value. A lone surrogate escape becomes U+FFFD (Segment sends them, validly
/// signed), the last of two equal keys wins, numbers keep their text.
///
/// # Errors
/// When the bytes are not JSON (a byte order mark is not), or nested too deep.
pub fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    whole(bytes, |input, peek| value(input, peek, MAX_DEPTH))
}

/// Reads like [`read`], with the same errors, but keeps only the `wanted` members of an object:
/// what is not kept costs a look at its bytes and no memory.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_members(bytes: &[u8], wanted: &[&str]) -> Result<Value, ReadError> {
    whole(bytes, |input, peek| match peek {
        Peek::Object => members(input, deeper(MAX_DEPTH)?, wanted),
        other => value(input, other, MAX_DEPTH),
    })
}

fn whole(
    bytes: &[u8],
    read: impl FnOnce(&mut Jiter<'_>, Peek) -> Result<Value, Fault>,
) -> Result<Value, ReadError> {
    let bytes = replace_lone_surrogates(bytes);
    let mut input = Jiter::new(&bytes);
    let value = input
        .peek()
        .map_err(Fault::from)
        .and_then(|peek| read(&mut input, peek))
        .and_then(|value| input.finish().map(|()| value).map_err(Fault::from));
    value.map_err(|fault| match fault {
        Fault::TooDeep => ReadError::TooDeep,
        Fault::Json(error) => {
            ReadError::Syntax { message: error.error_type.to_string(), offset: error.index }
        }
    })
}

enum Fault {
    Json(JiterError),
    TooDeep,
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self::Json(error)
    }
}

fn value(input: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<Value, Fault> {
    match peek {
        Peek::Null => Ok(input.known_null().map(|()| Value::Null)?),
        Peek::True | Peek::False => Ok(Value::Bool(input.known_bool(peek)?)),
        Peek::String => Ok(Value::String(input.known_str()?.to_owned())),
        Peek::Array => array(input, deeper(depth)?),
        Peek::Object => object(input, deeper(depth)?),
        _ => {
            let text = input.known_number_bytes(peek)?;
            // jiter has checked that these are digits, signs, dots and exponents.
            Ok(Value::Number(String::from_utf8_lossy(text).into()))
        }
    }
}

fn array(input: &mut Jiter<'_>, depth: usize) -> Result<Value, Fault> {
    let mut items = Vec::new();
    let mut next = input.known_array()?;
    while let Some(peek) = next {
        items.push(value(input, peek, depth)?);
        next = input.array_step()?;
    }
    Ok(Value::Array(items))
}

fn object(input: &mut Jiter<'_>, depth: usize) -> Result<Value, Fault> {
    let mut map = IndexMap::new();
    let mut next = input.known_object()?.map(str::to_owned);
    while let Some(key) = next {
        let peek = input.peek()?;
        map.insert(key, value(input, peek, depth)?);
        next = input.next_key()?.map(str::to_owned);
    }
    Ok(Value::Object(map))
}

fn members(input: &mut Jiter<'_>, depth: usize, wanted: &[&str]) -> Result<Value, Fault> {
    let mut map = IndexMap::with_capacity(wanted.len());
    let mut next = input.known_object()?.map(|key| position(key, wanted));
    while let Some(found) = next {
        let peek = input.peek()?;
        match found {
            Some(at) => {
                map.insert(wanted[at].to_owned(), value(input, peek, depth)?);
            }
            None => skip(input, peek, depth)?,
        }
        next = input.next_key()?.map(|key| position(key, wanted));
    }
    Ok(Value::Object(map))
}

fn position(key: &str, wanted: &[&str]) -> Option<usize> {
    wanted.iter().position(|wanted| *wanted == key)
}

/// Passes over a value, as strictly as [`value`] reads one.
fn skip(input: &mut Jiter<'_>, peek: Peek, depth: usize) -> Result<(), Fault> {
    match peek {
        Peek::Null => input.known_null()?,
        Peek::True | Peek::False => {
            input.known_bool(peek)?;
        }
        Peek::String => {
            input.known_str()?;
        }
        Peek::Array => {
            let depth = deeper(depth)?;
            let mut next = input.known_array()?;
            while let Some(peek) = next {
                skip(input, peek, depth)?;
                next = input.array_step()?;
            }
        }
        Peek::Object => {
            let depth = deeper(depth)?;
            let mut next = input.known_object()?.is_some();
            while next {
                let peek = input.peek()?;
                skip(input, peek, depth)?;
                next = input.next_key()?.is_some();
            }
        }
        _ => {
            input.known_number_bytes(peek)?;
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    depth.checked_sub(1).ok_or(Fault::TooDeep)
}

/// Replaces every escape of a lone surrogate (`\ud83d` without its other half) by `\ufffd`.
/// The length stays the same, so offsets into the result are offsets into the input.
fn replace_lone_surrogates(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut fixed = Cow::Borrowed(bytes);
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
        let start = at + found;
        let rest = &bytes[start..];
        at = start
            + match (surrogate(rest), surrogate(rest.get(6..).unwrap_or_default())) {
                (Some(Half::High), Some(Half::Low)) => 12,
                (Some(_), _) => {
                    fixed.to_mut()[start + 2..start + 6].copy_from_slice(b"fffd");
                    6
                }
                (None, _) => 2,
            };
    }
    fixed
}

enum Half {
    High,
    Low,
}

/// The surrogate escape that `bytes` begins with, if any.
fn surrogate(bytes: &[u8]) -> Option<Half> {
    match bytes {
        [b'\\', b'u', b'd' | b'D', second, third, fourth, ..]
            if third.is_ascii_hexdigit() && fourth.is_ascii_hexdigit() =>
        {
            match second {
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
                b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadError, Value, read, read_members};

    fn check(input: &str, output: &str) {
        assert_eq!(read(input.as_bytes()).unwrap().to_string(), output, "from {input}");
        // Passing over reads just as much.
        let wrapped = format!(r#"{{"skipped":{input},"kept":1}}"#);
        let kept = read_members(wrapped.as_bytes(), &["kept"]).unwrap();
        assert_eq!(kept.to_string(), r#"{"kept":1}"#, "from {wrapped}");
    }

    #[test]
    fn only_wanted_members_are_kept() {
        let members = |input: &str| read_members(input.as_bytes(), &["b", "a"]);
        let kept = |input| members(input).unwrap().to_string();
        assert_eq!(kept(r#"{"x":{"a":1},"a":[{}],"b":"y","a":2}"#), r#"{"a":2,"b":"y"}"#);
        assert_eq!(kept("{}"), "{}");
        assert_eq!(kept(r#"[{"a":1}]"#), r#"[{"a":1}]"#);
        assert_eq!(members("7"), Ok(Value::Number("7".into())));
    }

    #[test]
    fn what_is_read_is_what_was_meant() {
        check(r#" {"b":1,"a":[true,false,null,"x"]} "#, r#"{"b":1,"a":[true,false,null,"x"]}"#);
        check("12345678901234567890123", "12345678901234567890123");
        check("[1e+21,1e-7,-0.10,1.0]", "[1e+21,1e-7,-0.10,1.0]");
        check(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
        check(r#""\u0000\u2028\"\\\/""#, "\"\\u0000\u{2028}\\\"\\\\/\"");
    }

    #[test]
    fn lone_surrogates_become_the_replacement_character() {
        check(r#""\ud83d""#, "\"\u{fffd}\"");
        check(r#""\uDE00x""#, "\"\u{fffd}x\"");
        check(r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\u{1f600}\"");
        check(r#""\ud83d\n""#, "\"\u{fffd}\\n\"");
        check(r#""\\ud83d""#, r#""\\ud83d""#);
        check(r#"{"\ud83d":1}"#, "{\"\u{fffd}\":1}");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "[1,]", "01", "nul", "\u{feff}{}", "{} {}", "NaN", "'a'", r#""\ud8""#]
        {
            assert!(
                matches!(read(bad.as_bytes()), Err(ReadError::Syntax { .. })),
                "{bad} was read"
            );
        }
        assert!(matches!(read(b"\"\xff\""), Err(ReadError::Syntax { .. })));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(nested(128).as_bytes()).is_ok());
        assert_eq!(read(nested(129).as_bytes()), Err(ReadError::TooDeep));
        assert_eq!(read(nested(100_000).as_bytes()), Err(ReadError::TooDeep));
        let skipped = |n| read_members(format!(r#"{{"a":{}}}"#, nested(n)).as_bytes(), &[]);
        assert!(skipped(127).is_ok());
        assert_eq!(skipped(128), Err(ReadError::TooDeep));
    }
}
