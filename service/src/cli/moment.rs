//! Points in time as flags have them: a time, or how long ago.

use jiff::{SignedDuration, Timestamp};
use prost_types::Timestamp as WireTimestamp;

/// A point in time (RFC 3339), or a duration before now.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // `d` is not among the units of a fixed length for the parser, but means 24 h to everyone.
    let ago = match text.strip_suffix('d').map(str::parse::<i64>) {
        Some(Ok(days)) => days.checked_mul(24).map(SignedDuration::from_hours),
        _ => text.parse::<SignedDuration>().ok(),
    };
    ago.and_then(|ago| Timestamp::now().checked_sub(ago.abs()).ok()).ok_or_else(|| {
        format!("`{text}` is neither a time (2026-01-31T12:00:00Z) nor how long ago (90m, 2d)")
    })
}

/// In protobuf's form.
pub(crate) fn wire(time: Timestamp) -> WireTimestamp {
    WireTimestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::parse_moment;

    #[test]
    fn moments_are_times_or_how_long_ago() {
        assert_eq!(
            parse_moment("2026-01-31T12:00:00Z"),
            Ok("2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap())
        );
        for (text, ago) in
            [("90m", SignedDuration::from_mins(90)), ("2d", SignedDuration::from_hours(48))]
        {
            let earliest = Timestamp::now() - ago;
            let moment = parse_moment(text).unwrap();
            assert!(moment >= earliest && moment <= Timestamp::now() - ago, "{text}");
        }
        for bad in ["", "yesterday", "12"] {
            assert!(parse_moment(bad).is_err(), "{bad} was taken");
        }
    }
}
