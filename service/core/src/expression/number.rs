//! Numbers: from JSON text and back, their arithmetic and order.

use std::cmp::Ordering;

use super::EvaluationError;

/// A number as CEL has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i64),
    UInt(u64),
    Double(f64),
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Number {
    /// An int when the text is an integer that fits, else a uint when it fits, else a double.
    pub(super) fn read(text: &str) -> Self {
        if let Ok(int) = text.parse() {
            Self::Int(int)
        } else if let Ok(uint) = text.parse() {
            Self::UInt(uint)
        } else {
            // Every JSON number is one; over the range it is an infinity.
            Self::Double(text.parse().unwrap_or(f64::NAN))
        }
    }

    /// The shortest text that reads back as the same number, spelled as JavaScript does (and so
    /// as Segment does); `None` when JSON has none.
    pub(super) fn json(self) -> Option<String> {
        match self {
            Self::Int(int) => Some(int.to_string()),
            Self::UInt(uint) => Some(uint.to_string()),
            Self::Double(double) => double.is_finite().then(|| shortest(double)),
        }
    }

    pub(super) fn double(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::UInt(uint) => uint as f64,
            Self::Double(double) => double,
        }
    }

    /// The integer it is, or is cut to; `None` outside of what int and uint hold together.
    pub(super) fn integer(self) -> Option<i128> {
        match self {
            Self::Int(int) => Some(int.into()),
            Self::UInt(uint) => Some(uint.into()),
            Self::Double(double) => {
                let cut = double.trunc() as i128;
                (double.abs() < 1e20).then_some(cut)
            }
        }
    }

    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Int(int) => int.checked_neg().map(Self::Int),
            Self::UInt(uint) => 0_i64.checked_sub_unsigned(uint).map(Self::Int),
            Self::Double(double) => Some(Self::Double(-double)),
        }
    }

    /// By value, whatever the kinds; `None` when one is no number (NaN).
    pub(super) fn compared(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(&other),
            (Self::Double(one), other) => against(other, one).map(Ordering::reverse),
            (one, Self::Double(other)) => against(one, other),
            (one, other) => Some(one.integer().cmp(&other.integer())),
        }
    }

    /// Integers stay integers, checked; with a double among them it is done in doubles.
    pub(super) fn combined(self, by: Arithmetic, other: Self) -> Result<Self, EvaluationError> {
        let (Some(one), Some(two)) = (self.exact(), other.exact()) else {
            return doubles(self.double(), by, other.double()).map(Self::Double);
        };
        let result = match by {
            Arithmetic::Add => Some(one + two),
            Arithmetic::Subtract => Some(one - two),
            Arithmetic::Multiply => one.checked_mul(two),
            Arithmetic::Divide | Arithmetic::Remainder if two == 0 => {
                return Err(EvaluationError::Unfit("division by zero".to_owned()));
            }
            Arithmetic::Divide => Some(one / two),
            Arithmetic::Remainder => Some(one % two),
        };
        let int = |result| i64::try_from(result).ok().map(Self::Int);
        let uint = |result| u64::try_from(result).ok().map(Self::UInt);
        let fit = |result| match (self, other) {
            (Self::Int(_), Self::Int(_)) => int(result),
            (Self::UInt(_), Self::UInt(_)) => uint(result),
            _ => int(result).or_else(|| uint(result)),
        };
        result.and_then(fit).ok_or_else(|| {
            EvaluationError::Unfit("the result of an operation on integers is too large".to_owned())
        })
    }

    fn exact(self) -> Option<i128> {
        if let Self::Double(_) = self { None } else { self.integer() }
    }
}

fn doubles(one: f64, by: Arithmetic, other: f64) -> Result<f64, EvaluationError> {
    match by {
        Arithmetic::Add => Ok(one + other),
        Arithmetic::Subtract => Ok(one - other),
        Arithmetic::Multiply => Ok(one * other),
        Arithmetic::Divide => Ok(one / other),
        Arithmetic::Remainder => {
            Err(EvaluationError::Unfit("`%` takes two integers, not a double".to_owned()))
        }
    }
}

/// How an integer compares with a double, exactly.
fn against(integer: Number, double: f64) -> Option<Ordering> {
    let integer = integer.integer()?;
    match Number::Double(double).integer() {
        Some(cut) => {
            let fraction = double - double.trunc();
            Some(integer.cmp(&cut).then(0.0_f64.partial_cmp(&fraction)?))
        }
        None if double.is_nan() => None,
        None if double > 0.0 => Some(Ordering::Less),
        None => Some(Ordering::Greater),
    }
}

/// ECMAScript's Number::toString, which is JSON for every finite number.
fn shortest(double: f64) -> String {
    if double == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{:e}", double.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let sign = if double < 0.0 { "-" } else { "" };
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let point = usize::try_from(exponent + 1).unwrap_or(0);
    match exponent {
        0..=20 if digits.len() <= point => {
            let missing = point - digits.len();
            format!("{sign}{digits}{}", "0".repeat(missing))
        }
        0..=20 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        -6..0 => format!("{sign}0.{}{digits}", zeros(-exponent - 1)),
        _ => {
            let fraction = if digits.len() > 1 { "." } else { "" };
            let plus = if exponent > 0 { "+" } else { "" };
            format!("{sign}{}{fraction}{}e{plus}{exponent}", &digits[..1], &digits[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::Number;

    fn check(double: f64, text: &str) {
        assert_eq!(Number::Double(double).json().unwrap(), text);
    }

    #[test]
    fn doubles_are_spelled_as_javascript_does() {
        check(1.0, "1");
        check(-0.0, "0");
        check(39.95, "39.95");
        check(-123.456, "-123.456");
        check(1e20, "100000000000000000000");
        check(123_456_789_012_345_680_000.0, "123456789012345680000");
        check(1e21, "1e+21");
        check(1.5e300, "1.5e+300");
        check(0.000_001, "0.000001");
        check(1e-7, "1e-7");
        check(-1.25e-9, "-1.25e-9");
        check(5e-324, "5e-324");
        assert_eq!(Number::Double(f64::NAN).json(), None);
        assert_eq!(Number::Double(f64::INFINITY).json(), None);
    }

    #[test]
    fn numbers_compare_by_value() {
        let check = |one: &str, other: &str, order| {
            assert_eq!(Number::read(one).compared(Number::read(other)), Some(order));
            assert_eq!(Number::read(other).compared(Number::read(one)), Some(order.reverse()));
        };
        check("1", "1.0", Ordering::Equal);
        check("9007199254740993", "9007199254740992.0", Ordering::Greater);
        check("18446744073709551615", "-1", Ordering::Greater);
        check("18446744073709551615", "18446744073709551616.0", Ordering::Less);
        check("-1", "-1.5", Ordering::Greater);
        check("5", "1e+300", Ordering::Less);
        check("-5", "-1e999", Ordering::Greater);
        assert_eq!(Number::Int(1).compared(Number::Double(f64::NAN)), None);
    }
}
