//! Pauses after failures.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// The shortest and the longest.
pub(crate) type Pauses = (Duration, Duration);

/// Grows with every failure in a row, and differs a little from others.
pub(crate) fn pause((shortest, longest): Pauses, failures: u32) -> Duration {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(shortest)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build();
    pauses.take(failures.clamp(1, 16) as usize).last().unwrap_or(longest).min(longest)
}
