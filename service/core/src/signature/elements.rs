//! Where the elements of a JSON array lie in its bytes. Only finds boundaries; whether an element
//! is JSON is found out later, for each one alone.
//!
//! The scan knows strings and nesting depth and nothing else. For every valid JSON array it finds
//! exactly the elements a parser sees (a property test holds that). Of an array that is not valid
//! it may still find elements: then the broken ones become unmappable events and the good ones
//! live, which is better than losing both. No depth can overflow it: the nesting is one counter.

use std::ops::Range;

/// An array with more elements is not split. Segment's own maximum is 4,000; without a bound
/// 16 MiB of `[0,0,...` would be eight million events.
const MAX_ELEMENTS: usize = 10_000;

/// The elements of an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Offsets of each element, without the whitespace around it.
    pub(super) ranges: Vec<Range<usize>>,
    /// Whether there is no whitespace outside the elements. Only then is "the bytes of the first
    /// element" what Segment signed.
    pub(super) compact: bool,
}

/// Whether the first character that is not whitespace opens an array.
pub(super) fn is_array(body: &[u8]) -> bool {
    trim_start(body).first() == Some(&b'[')
}

/// Finds the elements. `None` when the body is no array, its brackets or strings do not end, there
/// is something behind it, an element is empty, or there are more than [`MAX_ELEMENTS`].
pub(super) fn split(body: &[u8]) -> Option<Split> {
    let open = body.len() - trim_start(body).len();
    if body.get(open) != Some(&b'[') {
        return None;
    }
    let mut found = Split { ranges: Vec::new(), compact: open == 0 };
    let mut depth = 0_usize;
    let mut begin = open + 1;
    let mut at = begin;
    loop {
        match body.get(at)? {
            b'"' => at = closing_quote(body, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b'}' => return None,
            b',' if depth == 0 => {
                found.push(body, begin..at)?;
                begin = at + 1;
            }
            b']' => break,
            _ => {}
        }
        at += 1;
    }
    let empty = found.ranges.is_empty() && trim_start(&body[begin..at]).is_empty();
    if empty {
        found.compact &= begin == at;
    } else {
        found.push(body, begin..at)?;
    }
    found.compact &= at + 1 == body.len();
    trim_start(&body[at + 1..]).is_empty().then_some(found)
}

impl Split {
    fn push(&mut self, body: &[u8], wide: Range<usize>) -> Option<()> {
        let trimmed = trim_start(&body[wide.clone()]);
        let start = wide.end - trimmed.len();
        let end = start + trim_end(trimmed).len();
        if start == end || self.ranges.len() == MAX_ELEMENTS {
            return None;
        }
        self.compact &= wide == (start..end);
        self.ranges.push(start..end);
        Some(())
    }
}

/// Offset of the quote that ends the string beginning at `open`.
fn closing_quote(body: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        // Whatever is escaped, it ends no string.
        at += 2;
    }
}

pub(super) fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The rest of `bytes` from the first one that is not what JSON calls whitespace.
fn trim_start(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|b| !is_whitespace(*b)).unwrap_or(bytes.len())..]
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|b| !is_whitespace(*b)).map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::{MAX_ELEMENTS, is_array, split};

    fn check(body: &str, elements: &[&str], compact: bool) {
        let found = split(body.as_bytes()).unwrap_or_else(|| panic!("{body} was not split"));
        let texts: Vec<&str> = found.ranges.iter().map(|r| &body[r.clone()]).collect();
        assert_eq!((texts.as_slice(), found.compact), (elements, compact), "of {body}");
    }

    #[test]
    fn elements_are_the_bytes_between_commas() {
        check("[]", &[], true);
        check("[ ]", &[], false);
        check("[1]", &["1"], true);
        check(r#"[{"a":[1,2]},null,"x,y"]"#, &[r#"{"a":[1,2]}"#, "null", r#""x,y""#], true);
        check(r#"["]\"[",[[]],"\\"]"#, &[r#""]\"[""#, "[[]]", r#""\\""#], true);
        check("\n[ 1 ,\t{ } ] ", &["1", "{ }"], false);
        check("[1] ", &["1"], false);
        check("[{ \"a\": 1 }]", &["{ \"a\": 1 }"], true);
        check(r#"["\ud83d","é"]"#, &[r#""\ud83d""#, r#""é""#], true);
    }

    #[test]
    fn a_broken_element_does_not_hide_its_neighbours() {
        check(r#"[{"a":1},xyz,{"b":2}]"#, &[r#"{"a":1}"#, "xyz", r#"{"b":2}"#], true);
        check("[{],2]", &["{]", "2"], true);
    }

    #[test]
    fn what_has_no_elements_is_not_split() {
        for body in [
            "",
            " ",
            "{}",
            "1",
            "[",
            "[1,",
            "[1,]",
            "[,1]",
            "[,]",
            "[1,,2]",
            "[1]]",
            "[1]x",
            "[1}",
            "[\"a]",
            "[\"a\\",
            "[\"a\\\"]",
            "[{\"a\":1]",
            "\u{feff}[1]",
        ] {
            assert_eq!(split(body.as_bytes()), None, "{body} was split");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        check(&deep, &[&deep[1..19_999]], true);
        assert_eq!(split("[".repeat(1 << 20).as_bytes()), None);
        let many = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert_eq!(split(many(MAX_ELEMENTS).as_bytes()).unwrap().ranges.len(), MAX_ELEMENTS);
        assert_eq!(split(many(MAX_ELEMENTS + 1).as_bytes()), None);
    }

    #[test]
    fn an_array_begins_with_a_bracket() {
        assert!(is_array(b"[") && is_array(b" \r\n\t[1]"));
        assert!(!is_array(b"") && !is_array(b"{}") && !is_array(b"\xef\xbb\xbf[]"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            r#"[\[\]{},:"\\ \n]{0,12}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((r#"[a-c"\\,\]}]{0,4}"#, inner), 0..6)
                    .prop_map(|pairs| pairs.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn of_valid_json_the_elements_are_what_a_parser_sees(
            items in prop::collection::vec(json(), 0..8),
            pretty in any::<bool>(),
        ) {
            let body = match pretty {
                true => serde_json::to_string_pretty(&items).unwrap(),
                false => serde_json::to_string(&items).unwrap(),
            };
            let parsed: Vec<&RawValue> = serde_json::from_str(&body).unwrap();
            let found = split(body.as_bytes()).unwrap();
            let texts: Vec<&str> = found.ranges.iter().map(|r| &body[r.clone()]).collect();
            let expected: Vec<&str> = parsed.iter().map(|raw| raw.get()).collect();
            prop_assert_eq!(texts, expected);
            prop_assert_eq!(found.compact, !pretty || items.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_ranges_never_overlap(
            body in r#"[\[\]{},:"\\ a1]{0,40}"#
        ) {
            let body = format!("[{body}");
            if let Some(found) = split(body.as_bytes()) {
                let mut last = 0;
                for range in found.ranges {
                    prop_assert!(last < range.start + 1 && range.start < range.end);
                    last = range.end;
                }
            }
        }
    }
}
