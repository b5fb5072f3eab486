//! Lets go of what need not be kept: old entries of the logs, and actions that no consumer came for.
//! What may go, and that nothing owed goes, is the store's to decide; that time stands still while
//! delivery is suspended is [`crate::suspension`]'s.

use std::{collections::HashMap, sync::Arc, time::Duration};

use segment_source_core::source::{DestinationId, SourceId};
use segment_source_store::{HoldLedger, Millis, Reason, Retain, Store, StoreError};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{Source, Sources, source::RetentionPolicy};

/// Between two looks at all sources.
const PAUSE: Duration = Duration::from_mins(1);

/// Actions wait so long in a queue without being done, in milliseconds: 7 days.
const LONGEST_WAIT: Millis = 7 * 24 * 60 * 60 * 1000;

/// Looks at every source again and again, and at once at one that is new, kept differently, or
/// suspended no more.
pub struct Retention {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
    seen: HashMap<SourceId, Seen>,
}

/// A source at the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    kept: RetentionPolicy,
    suspended: bool,
}

impl Retention {
    /// [`Retention::run`] starts it.
    #[must_use]
    pub fn new(store: Store, sources: watch::Receiver<Arc<Sources>>) -> Self {
        Self { store, sources, seen: HashMap::new() }
    }

    /// Until `cancel` is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut sources = self.sources.clone();
        let (mut all, mut next, mut configured) = (true, Instant::now() + PAUSE, true);
        loop {
            let now = sources.borrow_and_update().clone();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.look_at(&now, all) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(next) => (all, next) = (true, Instant::now() + PAUSE),
                changed = sources.changed(), if configured => {
                    // Whoever publishes the configuration is gone; the last one stays.
                    (all, configured) = (false, changed.is_ok());
                }
            }
        }
    }

    async fn look_at(&mut self, sources: &Sources, all: bool) {
        self.seen.retain(|id, _| sources.sources.contains_key(id));
        // Of all processes that have the store, one does it.
        for source in sources.sources.values().filter(|it| self.store.owns(it.id())) {
            let seen = Seen { kept: source.retention, suspended: source.delivery_suspended };
            let before = self.seen.insert(source.id().clone(), seen);
            if !all && before == Some(seen) {
                continue;
            }
            if let Err(error) = self.look(source).await {
                // As if it had not been seen.
                self.seen.remove(source.id());
                let source = source.id();
                tracing::warn!(%source, %error, "the log could not be cleared, trying later");
            }
        }
    }

    async fn look(&self, source: &Source) -> Result<(), StoreError> {
        let now = self.store.now();
        // That it is suspended may not be noted yet.
        let expires = |kind: &str| kind == "queue" && !source.delivery_suspended;
        for queue in source.destinations.iter().filter(|it| expires(it.kind)) {
            self.expire(source.id_of(queue), now).await?;
        }
        let RetentionPolicy { age, bytes } = source.retention;
        let age = Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX);
        let keep = Retain { before: now.saturating_sub(age), bytes };
        while self.store.retain(source.id(), keep).await?.more {}
        Ok(())
    }

    async fn expire(&self, queue: DestinationId, now: Millis) -> Result<(), StoreError> {
        let Some(before) = too_old(&self.store.hold_ledger(&queue).await?, now) else {
            return Ok(());
        };
        let reason = Reason {
            code: "expired".to_owned(),
            message: "no consumer has taken it for 7 days".to_owned(),
        };
        while self.store.expire(&queue, before, reason.clone()).await?.more {}
        Ok(())
    }
}

/// What waits since before then has waited too long, not counting the time in which the queue was
/// held; `None`: it is held now.
fn too_old(ledger: &HoldLedger, now: Millis) -> Option<Millis> {
    let last = match &ledger.hold {
        Some(hold) => Some((hold.since, hold.until.filter(|until| *until <= now)?)),
        None => None,
    };
    let (mut at, mut left) = (now, LONGEST_WAIT);
    for (from, until) in last.into_iter().chain(ledger.past.iter().rev().copied()) {
        let open = at.saturating_sub(until);
        if open >= left {
            break;
        }
        (at, left) = (at.min(from), left - open);
    }
    Some(at.saturating_sub(left))
}

#[cfg(test)]
mod tests {
    use segment_source_store::{Hold, HoldLedger, Millis};

    use super::{LONGEST_WAIT, too_old};

    const NOW: Millis = 2 * LONGEST_WAIT;

    fn held(until: Option<Millis>) -> Option<Hold> {
        Some(Hold { since: NOW - 100, until, refused: false, reason: String::new() })
    }

    #[test]
    fn the_time_of_holds_does_not_count() {
        let ledger = |hold, past: &[(Millis, Millis)]| HoldLedger { hold, past: past.to_vec() };
        assert_eq!(too_old(&ledger(None, &[]), NOW), Some(NOW - LONGEST_WAIT));
        assert_eq!(too_old(&ledger(held(None), &[]), NOW), None, "held for good");
        assert_eq!(too_old(&ledger(held(Some(NOW + 1)), &[]), NOW), None, "held for a while");
        assert_eq!(too_old(&ledger(held(Some(NOW - 40)), &[]), NOW), Some(NOW - LONGEST_WAIT - 60));
        let past = [(1, 2), (NOW - 1_000, NOW - 900), (NOW - 500, NOW - 450)];
        assert_eq!(too_old(&ledger(None, &past), NOW), Some(NOW - LONGEST_WAIT - 150));
        assert_eq!(too_old(&ledger(held(Some(NOW)), &past), NOW), Some(NOW - LONGEST_WAIT - 250));
        let long_ago = [(NOW - LONGEST_WAIT - 20, NOW - LONGEST_WAIT - 10)];
        assert_eq!(too_old(&ledger(None, &long_ago), NOW), Some(NOW - LONGEST_WAIT));
    }
}
