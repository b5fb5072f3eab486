//! A token bucket that can go into debt.
//!
//! A batch can hold more events than a bucket has room for. It must pass, or it would be refused
//! for ever; and it must be paid for, or the rate would mean nothing. So a request passes when the
//! bucket holds its events or is full, and takes all of them; what was missing is owed. (The usual
//! crates have no debt.) Kept as one instant, as in the generic cell rate algorithm: the time at
//! which the bucket will be full again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many tokens a second, and so many at once; neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Rate {
    /// `None` when either is 0.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0 && burst > 0).then_some(Self { per_second, burst })
    }

    /// How long it takes to earn `tokens`.
    fn time(self, tokens: u32) -> Duration {
        Duration::from_secs(u64::from(tokens)) / self.per_second
    }
}

#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    full: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full: Mutex::new(None) }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `tokens`, or says how long to wait before trying again.
    pub(crate) fn take(&self, tokens: usize, now: Instant) -> Result<(), Duration> {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = full.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        let needed = missing + self.rate.time(tokens.min(self.rate.burst));
        match needed.checked_sub(self.rate.time(self.rate.burst)) {
            Some(wait) if wait > Duration::ZERO => Err(wait),
            _ => {
                *full = Some(now + missing + self.rate.time(tokens));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Bucket, Rate};

    /// Takes tokens at the given milliseconds; expects the milliseconds to wait.
    fn check(per_second: u32, burst: u32, takes: &[(u64, usize, Result<(), u64>)]) {
        let bucket = Bucket::new(Rate::new(per_second, burst).unwrap());
        let start = Instant::now();
        for (at, tokens, expected) in takes {
            let taken = bucket.take(*tokens, start + Duration::from_millis(*at));
            let expected = expected.map_err(Duration::from_millis);
            assert_eq!(taken, expected, "{tokens} at {at} ms");
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        check(
            10,
            2,
            &[(0, 1, Ok(())), (0, 1, Ok(())), (0, 1, Err(100)), (99, 1, Err(1)), (100, 1, Ok(()))],
        );
        check(10, 2, &[(0, 2, Ok(())), (5_000, 2, Ok(())), (5_000, 1, Err(100))]);
    }

    #[test]
    fn more_than_the_burst_passes_when_the_bucket_is_full_and_is_paid_for() {
        check(10, 2, &[(0, 1, Ok(())), (50, 12, Err(50)), (100, 12, Ok(())), (200, 1, Err(1_000))]);
        check(10, 2, &[(0, 12, Ok(())), (1_199, 2, Err(1)), (1_200, 2, Ok(()))]);
    }

    #[test]
    fn refused_tokens_are_not_taken() {
        check(1, 1, &[(0, 1, Ok(())), (0, 1, Err(1_000)), (500, 1, Err(500)), (1_000, 1, Ok(()))]);
        assert_eq!((Rate::new(0, 1), Rate::new(1, 0)), (None, None));
    }
}
