//! Windows of claims: of so many durations, so that five bits tell which. What is asked for is rounded
//! up, by half at the most.

use std::time::Duration;

/// Milliseconds, ascending. A number in the list is kept with each claim, so none ever changes.
const WINDOWS: [u64; 32] = {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    [
        MINUTE,
        MINUTE * 3 / 2,
        2 * MINUTE,
        3 * MINUTE,
        4 * MINUTE,
        6 * MINUTE,
        8 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        45 * MINUTE,
        HOUR,
        HOUR * 3 / 2,
        2 * HOUR,
        3 * HOUR,
        4 * HOUR,
        6 * HOUR,
        8 * HOUR,
        12 * HOUR,
        18 * HOUR,
        DAY,
        36 * HOUR,
        2 * DAY,
        3 * DAY,
        4 * DAY,
        5 * DAY,
        7 * DAY,
        10 * DAY,
        14 * DAY,
        21 * DAY,
        30 * DAY,
    ]
};

/// The number of the shortest window that is not shorter; the longest is 30 days.
pub(super) fn number(asked: Duration) -> u8 {
    let asked = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
    let at = WINDOWS.partition_point(|window| *window < asked).min(WINDOWS.len() - 1);
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// For scripts.
pub(super) fn lua() -> String {
    format!("local WINDOWS = {{{}}}\n", WINDOWS.map(|window| window.to_string()).join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{WINDOWS, number};

    #[test]
    fn a_window_is_never_shorter_than_asked_and_at_most_half_longer() {
        for (shorter, longer) in WINDOWS.iter().zip(&WINDOWS[1..]) {
            assert!(shorter < longer && longer * 2 <= shorter * 3, "{shorter} {longer}");
        }
        for (n, window) in (0..).zip(WINDOWS) {
            assert_eq!(number(Duration::from_millis(window)), n);
            assert_eq!(number(Duration::from_millis(window - 1)), n);
        }
    }
}
