//! The system's clock, made steady. Stores get it passed in, and take whatever it says.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{Clock, Millis};

/// The system's clock as long as that goes forward. After it was set back this one goes on at half
/// its speed until the system's has come after it: leases, retries and holds last at most twice as
/// long, instead of longer by what it was set back.
#[must_use]
pub fn system_clock() -> Clock {
    SystemClock::default().clock()
}

/// [`system_clock`] for who knows more than it: cheap to clone, and one clock all the same.
#[derive(Clone, Debug)]
pub struct SystemClock(Arc<(Instant, Mutex<Steady>)>);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }
}

impl SystemClock {
    /// To be asked.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let shown = this.steady(|steady, elapsed| steady.at(wall, elapsed));
            Millis::try_from(shown.as_millis()).unwrap_or(Millis::MAX)
        })
    }

    /// Only what has passed: from any start, and no setting of the system's clock moves it. For
    /// leases.
    #[must_use]
    pub fn stopwatch(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || Millis::try_from(this.0.0.elapsed().as_millis()).unwrap_or(Millis::MAX))
    }

    /// It was that late before this process began: if the system's clock was set back since, this
    /// one goes on from there, as if it had not ended. But by more than [`LARGEST_STEP`] the clock of
    /// before was wrong, and a restart is what corrects that.
    pub fn goes_on_from(&self, millis: Millis) {
        let shown = Duration::from_millis(millis);
        let behind = shown.saturating_sub(Duration::from_millis((self.clock())()));
        if behind > LARGEST_STEP {
            tracing::warn!(
                behind_seconds = behind.as_secs(),
                "the system's clock is far behind what is stored: it was wrong before, or is now; what \
                 was to wait until then goes on waiting"
            );
        } else if !behind.is_zero() {
            tracing::warn!(
                behind_seconds = behind.as_secs(),
                "the system's clock is behind what is stored: it was set back; time goes on from \
                 what is stored, at half its speed until the system's has come after it"
            );
            self.steady(|steady, elapsed| steady.raise(shown, elapsed));
        }
    }

    fn steady<T>(&self, act: impl FnOnce(&mut Steady, Duration) -> T) -> T {
        let (start, steady) = &*self.0;
        act(&mut steady.lock().unwrap_or_else(PoisonError::into_inner), start.elapsed())
    }
}

/// A clock that was corrected, or one of another machine, differs by less.
const LARGEST_STEP: Duration = Duration::from_hours(24);

/// What was shown last, and when that was by a clock that nobody sets.
#[derive(Debug, Default)]
struct Steady {
    shown: Duration,
    at: Duration,
}

impl Steady {
    /// The time to show when the system's clock says `wall`, `elapsed` after the start.
    fn at(&mut self, wall: Duration, elapsed: Duration) -> Duration {
        let passed = elapsed.saturating_sub(self.at);
        self.shown = wall.max(self.shown + passed / 2);
        self.at = elapsed;
        self.shown
    }

    /// Never again shows less than this.
    fn raise(&mut self, shown: Duration, elapsed: Duration) {
        self.shown = self.shown.max(shown);
        self.at = elapsed;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Steady, SystemClock};

    #[test]
    fn it_follows_forward_and_slows_down_instead_of_stepping_back() {
        let mut steady = Steady::default();
        let seconds = Duration::from_secs;
        let mut at = |wall, elapsed| steady.at(seconds(wall), seconds(elapsed)).as_secs();
        assert_eq!(at(10_000, 0), 10_000);
        assert_eq!(at(10_010, 10), 10_010);
        // An hour back: it goes on at half the speed.
        assert_eq!(at(6_420, 20), 10_015);
        assert_eq!(at(6_430, 30), 10_020);
        // Until the system's has come after it, two hours later.
        assert_eq!(at(13_600, 7_200), 13_605);
        assert_eq!(at(13_620, 7_220), 13_620);
        // Forward it steps as the system's does.
        assert_eq!(at(20_000, 7_221), 20_000);
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_corrected_by_a_restart() {
        let clock = SystemClock::default();
        let now = clock.clock();
        let hour = 3_600_000;
        let before = now();
        clock.goes_on_from(before + 25 * hour);
        assert!(now() < before + hour);
        clock.goes_on_from(before + 2 * hour);
        assert!((before + 2 * hour..before + 3 * hour).contains(&now()));
    }

    #[test]
    fn it_goes_on_from_what_was_shown_before_it_began() {
        let mut steady = Steady::default();
        let seconds = Duration::from_secs;
        assert_eq!(steady.at(seconds(6_400), seconds(0)).as_secs(), 6_400);
        steady.raise(seconds(10_000), seconds(0));
        assert_eq!(steady.at(seconds(6_410), seconds(10)).as_secs(), 10_005);
        // What is in the past changes nothing.
        steady.raise(seconds(9_000), seconds(10));
        assert_eq!(steady.at(seconds(6_420), seconds(20)).as_secs(), 10_010);
    }
}
