//! When a write happened, as its event tells it, and which of two is newer.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{event::ActionId, event::EventId, source::SourceHash};

/// Orders the writes of a source: by the time of the event, then by its place in the log, then by
/// the run and the place of the action in it. No two actions of a source have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Since 1970; from the year 1677 on.
    nanos: i64,
    /// Of the event's acceptance.
    millis: u64,
    sequence: u16,
    run: u16,
    index: u16,
}

/// Of an event id: 48 bits.
const MAX_MILLIS: u64 = (1 << 48) - 1;

impl Stamp {
    /// Of an action. `timestamp` is the event's own, as it was sent: ISO 8601 with up to nine
    /// decimals and an offset (none: UTC). One that is no such text, or absent, counts as the
    /// acceptance, and so does one that is later: a wrong clock must not win for years.
    #[must_use]
    pub fn of(timestamp: &str, action: ActionId) -> Self {
        let EventId { millis, sequence, .. } = action.event;
        let accepted = nanos(millis);
        let nanos = parse(timestamp).map_or(accepted, |sent| sent.min(accepted));
        Self { nanos, millis, sequence, run: action.run, index: action.index }
    }

    /// Of something that is decided at a moment and is newer than all that happened up to it, and
    /// than `known`.
    #[must_use]
    pub fn deciding(now_millis: u64, known: Option<Self>) -> Self {
        let nanos = nanos(now_millis).max(known.map_or(i64::MIN, |known| known.nanos));
        Self { nanos, millis: MAX_MILLIS, sequence: u16::MAX, run: u16::MAX, index: u16::MAX }
    }

    /// The event's time: whole seconds since 1970, and nanoseconds on top of them.
    #[must_use]
    pub fn time(self) -> (i64, i32) {
        let nanos = self.nanos.rem_euclid(1_000_000_000);
        (self.nanos.div_euclid(1_000_000_000), i32::try_from(nanos).unwrap_or_default())
    }

    pub(super) fn to_bytes(self) -> [u8; 20] {
        let Self { nanos, millis, sequence, run, index } = self;
        let id = EventId { millis, sequence, source: SourceHash([0; 8]) }.to_bytes();
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&nanos.to_be_bytes());
        bytes[8..16].copy_from_slice(&id[..8]);
        bytes[16..18].copy_from_slice(&run.to_be_bytes());
        bytes[18..20].copy_from_slice(&index.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; 20]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, rest @ ..] = bytes;
        let [m0, m1, m2, m3, m4, m5, s0, s1, r0, r1, i0, i1] = rest;
        Self {
            nanos: i64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
            millis: u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]),
            sequence: u16::from_be_bytes([s0, s1]),
            run: u16::from_be_bytes([r0, r1]),
            index: u16::from_be_bytes([i0, i1]),
        }
    }
}

fn nanos(millis: u64) -> i64 {
    i64::try_from(millis.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970; what is before 1677 is as if it were then.
fn parse(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let local: DateTime = text.parse().ok()?;
            TimeZone::UTC.to_timestamp(local).ok()?
        }
    };
    let nanos = time.as_nanosecond();
    Some(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use crate::{
        event::{ActionId, EventId},
        source::SourceHash,
    };

    /// 2026-03-02T10:15:30.220Z
    const ACCEPTED: u64 = 1_772_446_530_220;

    fn action(millis: u64, sequence: u16, index: u16) -> ActionId {
        let event = EventId { millis, sequence, source: SourceHash([7; 8]) };
        ActionId { event, run: 0, index }
    }

    fn time(timestamp: &str) -> (i64, i32) {
        Stamp::of(timestamp, action(ACCEPTED, 3, 1)).time()
    }

    #[test]
    fn a_timestamp_is_read_as_it_was_meant() {
        let accepted = (1_772_446_530, 220_000_000);
        for (text, expected) in [
            ("2026-03-02T10:15:30.220Z", accepted),
            ("2026-03-02T10:15:30.219Z", (1_772_446_530, 219_000_000)),
            ("2026-03-02T10:15:30.219123456Z", (1_772_446_530, 219_123_456)),
            ("2026-03-02T11:15:30+01:00", (1_772_446_530, 0)),
            ("2026-03-02T10:15:30+00:00", (1_772_446_530, 0)),
            ("2026-03-02T10:15:30", (1_772_446_530, 0)),
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("1969-12-31T23:59:59.5Z", (-1, 500_000_000)),
            // Later than the acceptance.
            ("2026-03-02T10:15:30.221Z", accepted),
            ("2999-01-01T00:00:00Z", accepted),
            ("9999-12-30T00:00:00Z", accepted),
            // No ISO 8601, or nothing.
            ("2020-05-09 23:54:49.2 +0000 UTC m=+70366.29", accepted),
            ("1772446530", accepted),
            ("yesterday", accepted),
            ("", accepted),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert!(time("0001-01-01T00:00:00Z").0 < -9_000_000_000, "as far back as it goes");
    }

    #[test]
    fn the_events_time_counts_first_and_its_place_in_the_log_next() {
        let stamp = |text, action| Stamp::of(text, action);
        let (early, late) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        assert!(stamp(early, action(ACCEPTED + 9, 0, 0)) < stamp(late, action(ACCEPTED, 0, 0)));
        let order =
            [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)].map(|(millis, sequence, index)| {
                stamp(early, action(ACCEPTED + millis, sequence, index))
            });
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        let mut replayed = action(ACCEPTED, 0, 0);
        replayed.run = 1;
        assert!(stamp(early, action(ACCEPTED, 0, 5)) < stamp(early, replayed));
    }

    #[test]
    fn a_decision_is_newer_than_all_that_is_known() {
        let known = Stamp::of("", action(ACCEPTED + 60_000, 0, 0));
        assert!(Stamp::deciding(ACCEPTED, Some(known)) > known, "also when the clock stepped back");
        assert!(Stamp::deciding(ACCEPTED, None) > Stamp::of("", action(ACCEPTED, 9, 9)));
        assert!(Stamp::deciding(ACCEPTED, None) < Stamp::of("", action(ACCEPTED + 1, 0, 0)));
    }

    #[test]
    fn a_stamp_survives_bytes() {
        let stamp = Stamp::of("1969-12-31T23:59:59.5Z", action(ACCEPTED, 300, 2));
        assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
    }
}
