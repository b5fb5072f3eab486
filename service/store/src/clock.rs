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
    let (start, steady) = (Instant::now(), Mutex::new(Steady::default()));
    Arc::new(move || {
        let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shown = steady.at(wall, start.elapsed());
        Millis::try_from(shown.as_millis()).unwrap_or(Millis::MAX)
    })
}

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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Steady;

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
}
