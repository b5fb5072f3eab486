//! The circuit breaker of a destination: when it is down, it is asked now and then, and not for
//! every action. Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, code, policy::share};

/// Failures in a row, without a success between them, that open it.
const FAILURES: u32 = 10;

/// For how long it opens first; every further time twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// What an attempt says about its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answers.
    Alive,
    /// It is down.
    Down,
    /// Nothing: it is about the action, or nobody was asked.
    None,
}

impl Sign {
    /// An action that goes on failing with answers says something about itself; so only first
    /// attempts count then, and a few users that fail for good stop no others.
    pub(super) fn of(outcome: &Outcome, attempt: u32, probe: bool) -> Self {
        match outcome {
            Outcome::Done { .. } | Outcome::Retry { code: code::RATE_LIMITED, .. } => Self::Alive,
            Outcome::Dead { code, .. } if code::is_answer(code) => Self::Alive,
            Outcome::Retry { code: code::TRANSPORT | code::TIMEOUT, .. } => Self::Down,
            Outcome::Retry { code: code::FAILING, .. } if attempt == 1 || probe => Self::Down,
            Outcome::Retry { .. } | Outcome::Refused { .. } | Outcome::Dead { .. } => Self::None,
        }
    }
}

/// One breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// Everything passes.
    Closed { failures: u32 },
    /// Nothing passes until then; then one probe.
    Open { until: Instant, times: u32 },
    /// A probe is under way.
    Probing { times: u32 },
}

/// What may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    All,
    /// [`Breaker::probing`] is said when it does.
    One,
    NoneBefore(Instant),
    /// Until a probe has ended.
    None,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    pub(super) fn passes(self, now: Instant) -> Passes {
        match self {
            Self::Closed { .. } => Passes::All,
            Self::Open { until, .. } if until > now => Passes::NoneBefore(until),
            Self::Open { .. } => Passes::One,
            Self::Probing { .. } => Passes::None,
        }
    }

    pub(super) fn is_open(self) -> bool {
        !matches!(self, Self::Closed { .. })
    }

    /// The one that may pass is under way.
    pub(super) fn probing(&mut self) {
        if let Self::Open { times, .. } = *self {
            *self = Self::Probing { times };
        }
    }

    /// An attempt has ended. `lot` is a number drawn at random.
    pub(super) fn record(&mut self, sign: Sign, probe: bool, now: Instant, lot: u32) {
        *self = match (*self, sign) {
            (_, Sign::Alive) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, Sign::Down) if failures + 1 < FAILURES => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. }, Sign::Down) => Self::Open { until: now + wait(1, lot), times: 1 },
            (Self::Probing { times }, Sign::Down) if probe => {
                let times = times.saturating_add(1);
                Self::Open { until: now + wait(times, lot), times }
            }
            // The probe did not get as far as the destination: another one, at once.
            (Self::Probing { times }, Sign::None) if probe => Self::Open { until: now, times },
            (same, _) => same,
        };
    }
}

/// Half to all of the turn.
fn wait(times: u32, lot: u32) -> Duration {
    let turn = FIRST.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST);
    turn.mul_f64(f64::midpoint(1.0, share(lot)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Breaker, Outcome, Passes, Sign, code};

    fn down(breaker: &mut Breaker, times: u32, now: Instant) {
        (0..times).for_each(|_| breaker.record(Sign::Down, false, now, u32::MAX));
    }

    #[test]
    fn ten_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        down(&mut breaker, 9, now);
        breaker.record(Sign::Alive, false, now, 0);
        down(&mut breaker, 9, now);
        breaker.record(Sign::None, false, now, 0);
        assert_eq!(breaker.passes(now), Passes::All);
        down(&mut breaker, 1, now);
        let until = now + Duration::from_secs(1);
        assert_eq!(breaker.passes(now), Passes::NoneBefore(until));
        assert_eq!(breaker.passes(until), Passes::One);
    }

    #[test]
    fn a_probe_closes_it_or_opens_it_for_twice_as_long() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        down(&mut breaker, 10, now);
        // What was under way when it opened says nothing new.
        down(&mut breaker, 10, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(breaker.passes(now), Passes::NoneBefore(until), "{seconds}");
            now = until;
            breaker.probing();
            assert_eq!(breaker.passes(now), Passes::None);
            breaker.record(Sign::Down, true, now, u32::MAX);
        }
        now += Duration::from_mins(1);
        breaker.probing();
        breaker.record(Sign::None, true, now, 0);
        assert_eq!(breaker.passes(now), Passes::One);
        breaker.probing();
        breaker.record(Sign::Alive, true, now, 0);
        assert_eq!(breaker, Breaker::Closed { failures: 0 });
    }

    #[test]
    fn only_what_tells_of_the_destination_counts() {
        let retry = |code| Outcome::Retry { code, message: String::new(), after: None };
        let dead = |code| Outcome::Dead { code, message: String::new() };
        let refused = Outcome::Refused { code: code::CREDENTIAL_REFUSED, message: String::new() };
        for (outcome, attempt, probe, sign) in [
            (Outcome::Done { answer: String::new() }, 1, false, Sign::Alive),
            (retry(code::TRANSPORT), 7, false, Sign::Down),
            (retry(code::TIMEOUT), 7, false, Sign::Down),
            (retry(code::FAILING), 1, false, Sign::Down),
            (retry(code::FAILING), 2, false, Sign::None),
            (retry(code::FAILING), 2, true, Sign::Down),
            (retry(code::RATE_LIMITED), 1, false, Sign::Alive),
            (dead(code::REJECTED), 1, false, Sign::Alive),
            (dead("workflow_missing"), 1, false, Sign::Alive),
            (dead(code::ADDRESS_NOT_ALLOWED), 1, false, Sign::None),
            (refused, 1, false, Sign::None),
        ] {
            assert_eq!(Sign::of(&outcome, attempt, probe), sign, "{outcome:?}");
        }
    }
}
