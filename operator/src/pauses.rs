//! How long is waited: for answers of the API server, and after failures.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::timeout;

/// How long one look may take, with all that it asks the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server did not answer within {} s", PATIENCE.as_secs())]
pub(crate) struct Slow;

/// Gives up after a while: a connection may be dead without anyone saying so.
///
/// # Errors
/// When it took too long.
pub(crate) async fn in_time<F: Future>(look: F) -> Result<F::Output, Slow> {
    timeout(PATIENCE, look).await.map_err(|_elapsed| Slow)
}

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
