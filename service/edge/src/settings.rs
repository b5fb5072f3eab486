//! The edge's bounds, with their defaults.

use std::time::Duration;

/// Every bound of the edge. Memory is bounded by `body_budget` and `connections`, not by what is
/// sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest request body in bytes; a larger one is answered 413, which Segment takes as
    /// final. Default 16 MiB: Segment's own batches end at 4 MB.
    pub body_limit: usize,
    /// Bytes of all bodies in memory, from the first byte read to the answer. Over it: 503.
    /// Default 256 MiB; never less than `body_limit`.
    pub body_budget: usize,
    /// How long a body may take to arrive once its head is there; then 408. Default 10 s, which is
    /// when Segment itself gives up.
    pub body_timeout: Duration,
    /// How long a head may take, and how long a connection may be idle. Default 75 s, more than
    /// the 60 s after which common load balancers stop using a connection.
    pub head_timeout: Duration,
    /// Open connections; more wait to be accepted. Each may hold up to 64 KiB of a head outside of
    /// the budget. Default 4,096.
    pub connections: usize,
    /// From the head of a request to its answer. Default 4 s: Segment waits 5 s.
    pub deadline: Duration,
    /// Batches on their way to one ingest at the same time. Default 2: a cap is what makes batches
    /// form by themselves; more only pays where commits are slow.
    pub batches_in_flight: usize,
    /// How long requests under way may take to finish after shutdown was asked for. Default 10 s.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_limit: 16 << 20,
            body_budget: 256 << 20,
            body_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(75),
            connections: 4_096,
            deadline: Duration::from_secs(4),
            batches_in_flight: 2,
            drain: Duration::from_secs(10),
        }
    }
}
