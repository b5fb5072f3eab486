//! When a failed attempt is repeated, and when it is the last. Pure.

use std::time::Duration;

/// The first wait, before it is drawn by lot; every further one is twice as long.
const BASE: Duration = Duration::from_secs(1);

/// No wait is longer, unless the destination asks for it.
const LONGEST: Duration = Duration::from_mins(10);

/// No destination may ask for more.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one, after this long.
    Again(Duration),
    /// Nothing: it was tried for as long as it may.
    Over,
}

/// What follows the `attempt`th failed attempt (1 is the first) of an action that was first tried
/// `age` ago. `lot` is a number drawn at random: waits are anything up to the longest of their
/// turn, so that what failed together does not come back together.
pub(super) fn next(
    attempt: u32,
    after: Option<Duration>,
    age: Duration,
    max_age: Duration,
    lot: u32,
) -> Next {
    let Some(left) = max_age.checked_sub(age).filter(|left| !left.is_zero()) else {
        return Next::Over;
    };
    let turn = BASE.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(LONGEST);
    // The last attempt is made when the time is over, and not long after.
    let wait = turn.mul_f64(share(lot)).min(left).max(Duration::from_millis(1));
    Next::Again(wait.max(after.unwrap_or_default().min(LONGEST_ASKED)))
}

/// From 0 to 1.
pub(super) fn share(lot: u32) -> f64 {
    f64::from(lot) / f64::from(u32::MAX)
}

/// Drawn at random.
pub(super) fn lot() -> u32 {
    // Without randomness everything comes back after half of its turn.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Next, next};

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    fn wait(attempt: u32, lot: u32) -> Duration {
        match next(attempt, None, MINUTE, DAY, lot) {
            Next::Again(wait) => wait,
            Next::Over => panic!("over"),
        }
    }

    #[test]
    fn waits_double_up_to_ten_minutes_and_are_drawn_by_lot() {
        let longest = |attempt| wait(attempt, u32::MAX);
        let turns = [1, 2, 3, 4, 9, 10, 11, 12, 1_000_000].map(longest);
        assert_eq!(turns, [1, 2, 4, 8, 256, 512, 600, 600, 600].map(Duration::from_secs));
        assert_eq!(wait(5, 0), Duration::from_millis(1));
        assert!((7.9..8.1).contains(&wait(5, u32::MAX / 2).as_secs_f64()));
    }

    #[test]
    fn what_the_destination_asks_for_is_the_least_up_to_an_hour() {
        let asked = |seconds| next(1, Some(Duration::from_secs(seconds)), MINUTE, DAY, u32::MAX);
        assert_eq!(asked(0), Next::Again(Duration::from_secs(1)));
        assert_eq!(asked(30), Next::Again(Duration::from_secs(30)));
        assert_eq!(asked(u64::MAX), Next::Again(Duration::from_hours(1)));
    }

    #[test]
    fn the_last_attempt_is_made_when_the_time_is_over() {
        let at = |age| next(12, None, Duration::from_secs(age), MINUTE, u32::MAX);
        assert_eq!(at(0), Next::Again(MINUTE));
        assert_eq!(at(59), Next::Again(Duration::from_secs(1)));
        assert_eq!(at(60), Next::Over);
        assert_eq!(at(61), Next::Over);
    }
}
