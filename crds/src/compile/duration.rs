//! Durations as Go and Kubernetes write them: `24h`, `1m30s`, `1.5h`.

use super::Compiler;
use crate::pattern::NO_DURATION;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Milliseconds; the fraction of one is cut off. `None` when it is not a duration, or longer than
/// any that is ever allowed.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "h" => HOUR,
            "m" => MINUTE,
            "s" => SECOND,
            "ms" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
            return None;
        }
        total = total.checked_add(digits(whole)?.checked_mul(unit)?)?;
        let scale = 10_i64.pow(u32::try_from(fraction.len()).ok()?);
        total = total.checked_add(digits(fraction)?.checked_mul(unit)? / scale)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn digits(text: &str) -> Option<i64> {
    match text {
        "" => Some(0),
        _ if text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

impl Compiler<'_> {
    /// Milliseconds of a duration from `min` to `max`, which are durations themselves; `default`
    /// when it is absent.
    pub(super) fn duration(
        &mut self,
        field: &str,
        text: Option<&str>,
        default: &str,
        [min, max]: [&str; 2],
    ) -> i64 {
        let text = text.unwrap_or(default);
        let bounds = [min, max].map(|bound| parse(bound).unwrap_or_default());
        match parse(text) {
            Some(value) if (bounds[0]..=bounds[1]).contains(&value) => value,
            Some(_) => {
                self.problem(field, format!("`{text}` is not from {min} to {max}"));
                0
            }
            None => {
                self.problem(field, NO_DURATION);
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, expected) in [
            ("24h", Some(86_400_000)),
            ("720h", Some(2_592_000_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("1h0m0.250s", Some(3_600_250)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1d", None),
            ("-1h", None),
            ("1 h", None),
            ("1e9h", None),
            ("999999999999999h", None),
            ("9999999999999999999999h", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
