//! Lenient reading of JSON bytes.

use std::borrow::Cow;

use indexmap::IndexMap;
use jiter::{Jiter, JiterError, Peek};

use super::Value;

/// Arrays and objects may be nested this deep; deeper input is not read.
pub(crate) const MAX_DEPTH: usize = 128;

/// Input with more values than this, keys not counted, is not read: one of a few bytes takes about
/// a hundred in memory, and the 16 MiB of a request could hold eight million.
const MAX_VALUES: usize = 1 << 20;

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
    /// More than 2^20 values, keys not counted.
    #[error("has more than {MAX_VALUES} values")]
    TooMany,
}

/// Reads one JSON value. A lone surrogate escape becomes U+FFFD (Segment sends them, validly
/// signed), the last of two equal keys wins, numbers keep their text.
///
/// # Errors
/// When the bytes are not JSON (a byte order mark is not), nested too deep or too many values.
pub fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    Reader::whole(bytes, |reader, peek| reader.value(peek, MAX_DEPTH))
}

/// Reads like [`read`], with the same errors, but keeps only the `wanted` members of an object:
/// what is not kept costs a look at its bytes and no memory.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_members(bytes: &[u8], wanted: &[&str]) -> Result<Value, ReadError> {
    Reader::whole(bytes, |reader, peek| match peek {
        Peek::Object => reader.members(wanted),
        other => reader.value(other, MAX_DEPTH),
    })
}

enum Fault {
    Json(JiterError),
    TooDeep,
    TooMany,
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self::Json(error)
    }
}

struct Reader<'j> {
    input: Jiter<'j>,
    /// How many more values may be read.
    values: usize,
}

impl Reader<'_> {
    fn whole(
        bytes: &[u8],
        read: impl FnOnce(&mut Reader<'_>, Peek) -> Result<Value, Fault>,
    ) -> Result<Value, ReadError> {
        let bytes = replace_lone_surrogates(bytes);
        let mut reader = Reader { input: Jiter::new(&bytes), values: MAX_VALUES };
        let peek = reader.input.peek().map_err(Fault::from);
        let value = peek
            .and_then(|peek| read(&mut reader, peek))
            .and_then(|value| Ok(reader.input.finish().map(|()| value)?));
        value.map_err(|fault| match fault {
            Fault::TooDeep => ReadError::TooDeep,
            Fault::TooMany => ReadError::TooMany,
            Fault::Json(error) => {
                ReadError::Syntax { message: error.error_type.to_string(), offset: error.index }
            }
        })
    }

    fn value(&mut self, peek: Peek, depth: usize) -> Result<Value, Fault> {
        self.count()?;
        match peek {
            Peek::Null => Ok(self.input.known_null().map(|()| Value::Null)?),
            Peek::True | Peek::False => Ok(Value::Bool(self.input.known_bool(peek)?)),
            Peek::String => Ok(Value::String(self.input.known_str()?.to_owned())),
            Peek::Array => self.array(deeper(depth)?),
            Peek::Object => self.object(deeper(depth)?),
            _ => {
                let text = self.input.known_number_bytes(peek)?;
                // jiter has checked that these are digits, signs, dots and exponents.
                Ok(Value::Number(String::from_utf8_lossy(text).into()))
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        let mut next = self.input.known_array()?;
        while let Some(peek) = next {
            items.push(self.value(peek, depth)?);
            next = self.input.array_step()?;
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut map = IndexMap::new();
        let mut next = self.input.known_object()?.map(str::to_owned);
        while let Some(key) = next {
            let peek = self.input.peek()?;
            map.insert(key, self.value(peek, depth)?);
            next = self.input.next_key()?.map(str::to_owned);
        }
        Ok(Value::Object(map))
    }

    fn members(&mut self, wanted: &[&str]) -> Result<Value, Fault> {
        self.count()?;
        let depth = deeper(MAX_DEPTH)?;
        let position = |key: &str| wanted.iter().position(|wanted| *wanted == key);
        let mut map = IndexMap::with_capacity(wanted.len());
        let mut next = self.input.known_object()?.map(position);
        while let Some(found) = next {
            let peek = self.input.peek()?;
            match found {
                Some(at) => {
                    map.insert(wanted[at].to_owned(), self.value(peek, depth)?);
                }
                None => self.skip(peek, depth)?,
            }
            next = self.input.next_key()?.map(position);
        }
        Ok(Value::Object(map))
    }

    /// Passes over a value, as strictly as [`Reader::value`] reads one.
    fn skip(&mut self, peek: Peek, depth: usize) -> Result<(), Fault> {
        self.count()?;
        match peek {
            Peek::Null => self.input.known_null()?,
            Peek::True | Peek::False => {
                self.input.known_bool(peek)?;
            }
            Peek::String => {
                self.input.known_str()?;
            }
            Peek::Array => {
                let depth = deeper(depth)?;
                let mut next = self.input.known_array()?;
                while let Some(peek) = next {
                    self.skip(peek, depth)?;
                    next = self.input.array_step()?;
                }
            }
            Peek::Object => {
                let depth = deeper(depth)?;
                let mut next = self.input.known_object()?.is_some();
                while next {
                    let peek = self.input.peek()?;
                    self.skip(peek, depth)?;
                    next = self.input.next_key()?.is_some();
                }
            }
            _ => {
                self.input.known_number_bytes(peek)?;
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.values = self.values.checked_sub(1).ok_or(Fault::TooMany)?;
        Ok(())
    }
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
    use super::{MAX_VALUES, ReadError, Value, read, read_members};

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

    #[test]
    fn the_number_of_values_is_bounded() {
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert!(read(list(MAX_VALUES - 1).as_bytes()).is_ok());
        assert_eq!(read(list(MAX_VALUES).as_bytes()), Err(ReadError::TooMany));
        let skipped = |n| read_members(format!(r#"{{"a":{}}}"#, list(n)).as_bytes(), &[]);
        assert!(skipped(MAX_VALUES - 2).is_ok());
        assert_eq!(skipped(MAX_VALUES - 1), Err(ReadError::TooMany));
        let keys = |n: usize| format!("{{\"a\":[{}]}}", vec![r#"{"b":1}"#; n].join(","));
        assert!(read(keys(MAX_VALUES / 2 - 1).as_bytes()).is_ok());
        assert_eq!(read(keys(MAX_VALUES / 2).as_bytes()), Err(ReadError::TooMany));
    }
}
