//! Amounts of space as Kubernetes writes them: `500Mi`, `10Gi`, `2G`.

use super::Compiler;
use crate::pattern::{NO_QUANTITY, QUANTITY, mismatch};

/// Bytes. `None` when it is no amount, or more than fits 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (number, suffix) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

impl Compiler<'_> {
    /// Bytes of an amount from `min` to `max`, which are amounts themselves.
    pub(super) fn quantity(&mut self, field: &str, text: &str, [min, max]: [&str; 2]) -> u64 {
        let bounds = [min, max].map(|bound| parse(bound).unwrap_or_default());
        if mismatch(QUANTITY, text).is_some() {
            self.problem(field, NO_QUANTITY);
            return 0;
        }
        match parse(text).filter(|value| (bounds[0]..=bounds[1]).contains(value)) {
            Some(value) => value,
            None => {
                self.problem(field, format!("`{text}` is not from {min} to {max}"));
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn amounts_are_read_as_kubernetes_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1_048_576)),
            ("1k", Some(1_000)),
            ("3M", Some(3_000_000)),
            ("2G", Some(2_000_000_000)),
            ("1T", Some(1_000_000_000_000)),
            ("1P", Some(1_000_000_000_000_000)),
            ("1Ki", Some(1_024)),
            ("500Mi", Some(524_288_000)),
            ("10Gi", Some(10_737_418_240)),
            ("1Ti", Some(1_099_511_627_776)),
            ("1Pi", Some(1_125_899_906_842_624)),
            ("", None),
            ("Gi", None),
            ("10GB", None),
            ("1.5Gi", None),
            ("-1Gi", None),
            ("10 Gi", None),
            ("999999999999999Pi", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
