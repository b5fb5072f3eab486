//! The latch behind 401: has this secret ever verified anything?
//!
//! Each secret has its own, for as long as this process knows the secret's content. Of several
//! that are live together, those loaded last decide: when a new secret is put beside a proven old
//! one and Segment then changes to what was meant, a mistyped new one must not cost an event,
//! however much the old one has verified. And when the old one is taken away, the new one keeps
//! what it has proved.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Belongs to the content of a secret in this process, and lives on across configuration updates.
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

/// The same for secrets any of which may match: whether one of those loaded last says so.
pub(crate) fn any_newest_is_final<'a>(
    latches: impl Iterator<Item = &'a Latch> + Clone,
    now: Instant,
    grace: Duration,
) -> bool {
    let newest = latches.clone().map(|latch| latch.loaded).max();
    latches.filter(|latch| Some(latch.loaded) == newest).any(|latch| latch.is_final(now, grace))
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
