//! The latch behind 401: has this secret ever verified anything?

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Belongs to the content of a secret (or set of secrets) in this process, and lives on across
/// configuration updates that do not change it.
#[derive(Debug)]
pub(crate) struct Latch {
    loaded: Instant,
    proven: AtomicBool,
}

impl Latch {
    pub(crate) fn new(loaded: Instant) -> Self {
        Self { loaded, proven: AtomicBool::new(false) }
    }

    /// The secret has verified something, so it is the right one.
    pub(crate) fn prove(&self) {
        // Read first: almost always it is set, and a write would bounce the cache line.
        if !self.proven.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a mismatch is the sender's fault for good. Before that the secret may be mistyped,
    /// and answering 401 would lose genuine events.
    pub(crate) fn is_final(&self, now: Instant, grace: Duration) -> bool {
        self.proven.load(Ordering::Relaxed) || now.saturating_duration_since(self.loaded) >= grace
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Latch;

    #[test]
    fn a_mismatch_is_final_after_a_success_or_the_grace() {
        let grace = Duration::from_secs(10);
        let loaded = Instant::now();
        let latch = Latch::new(loaded);
        assert!(!latch.is_final(loaded, grace));
        assert!(!latch.is_final(loaded + Duration::from_millis(9_999), grace));
        assert!(latch.is_final(loaded + grace, grace));
        assert!(latch.is_final(loaded, Duration::ZERO));
        latch.prove();
        assert!(latch.is_final(loaded, grace));
    }
}
