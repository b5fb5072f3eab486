//! Holds of a destination: for how long an action's clock stood still, and when a destination that
//! refuses its credential is asked again. Pure; the store keeps the holds.

use std::time::Duration;

use segment_source_store::{HoldLedger, Millis};
use tokio::time::Instant;

/// The first wait of a destination that refuses its credential; every further one is twice as long.
const FIRST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_mins(10);

/// How old an action is that was first tried at `first`: without the time in which its destination
/// was held.
pub(super) fn age(ledger: &HoldLedger, first: Millis, now: Millis) -> Duration {
    let open = ledger.hold.iter().map(|hold| (hold.since, hold.until.unwrap_or(now)));
    let mut holds: Vec<_> = ledger.past.iter().copied().chain(open).collect();
    holds.sort_unstable();
    let (mut counted_to, mut held) = (first, 0);
    for (from, to) in holds {
        let (from, to) = (from.max(counted_to), to.min(now));
        if to > from {
            held += to - from;
            counted_to = to;
        }
    }
    Duration::from_millis(now.saturating_sub(first).saturating_sub(held))
}

/// When a destination that refuses its credential is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    next: Instant,
    wait: Duration,
}

impl Refusal {
    /// At once: after a start, or with another credential.
    pub(super) fn fresh(now: Instant) -> Self {
        Self { next: now, wait: FIRST }
    }

    /// It has refused.
    pub(super) fn first(now: Instant) -> Self {
        Self { next: now + FIRST, wait: FIRST * 2 }
    }

    /// It was asked and still refuses, or did not answer.
    pub(super) fn again(&mut self, now: Instant) {
        *self = Self { next: now + self.wait, wait: (self.wait * 2).min(LONGEST) };
    }

    /// Not before.
    pub(super) fn next(self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use segment_source_store::{Hold, HoldLedger};
    use tokio::time::Instant;

    use super::{Refusal, age};

    fn ledger(past: &[(u64, u64)], hold: Option<(u64, Option<u64>)>) -> HoldLedger {
        let hold =
            hold.map(|(since, until)| Hold { since, until, refused: false, reason: String::new() });
        HoldLedger { hold, past: past.to_vec() }
    }

    #[test]
    fn the_clock_stands_still_while_it_is_held() {
        let of = |ledger: &HoldLedger, first, now| age(ledger, first, now).as_millis();
        assert_eq!(of(&ledger(&[], None), 100, 1_000), 900);
        assert_eq!(of(&ledger(&[(200, 300)], None), 100, 1_000), 800);
        // Before, at the beginning, over the end.
        assert_eq!(of(&ledger(&[(0, 50), (90, 200), (950, 2_000)], None), 100, 1_000), 750);
        // One inside of the other, and next to each other.
        assert_eq!(of(&ledger(&[(200, 400), (250, 300), (400, 500)], None), 100, 1_000), 600);
        assert_eq!(of(&ledger(&[], Some((300, None))), 100, 1_000), 200);
        assert_eq!(of(&ledger(&[(200, 400)], Some((300, Some(500)))), 100, 1_000), 600);
        // The clock stepped back.
        assert_eq!(of(&ledger(&[(200, 400)], None), 1_000, 500), 0);
    }

    #[test]
    fn one_that_refuses_is_asked_less_and_less_often() {
        let mut now = Instant::now();
        let mut refusal = Refusal::first(now);
        for minutes in [1, 2, 4, 8, 10, 10] {
            assert_eq!(refusal.next(), now + Duration::from_mins(minutes));
            now = refusal.next();
            refusal.again(now);
        }
        assert_eq!(Refusal::fresh(now).next(), now);
    }
}
