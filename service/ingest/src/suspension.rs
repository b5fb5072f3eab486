//! Time stands still for what waits while delivery is suspended: a suspension is noted with each
//! destination as a hold, which whoever counts time leaves out. That nothing is delivered meanwhile
//! is not this hold's doing, but nothing is delivered before it has ended: so this waits for nobody.

use std::{sync::Arc, time::Duration};

use segment_source_store::{Ending, Hold, Store, StoreError};
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{Source, Sources};

/// Between two looks at all sources: a hold by hand may have ended meanwhile, or a write failed.
const PAUSE: Duration = Duration::from_mins(1);

/// By it such a hold is told from others.
const REASON: &str = "suspend: Delivery";

/// Notes with every destination whether its source is suspended; at once when that changes.
pub struct Suspension {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
}

impl Suspension {
    /// [`Suspension::run`] starts it.
    #[must_use]
    pub fn new(store: Store, sources: watch::Receiver<Arc<Sources>>) -> Self {
        Self { store, sources }
    }

    /// Until `cancel` is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let (mut seen, mut configured) = (Arc::<Sources>::default(), true);
        let mut next = Instant::now() + PAUSE;
        loop {
            let now = self.sources.borrow_and_update().clone();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.look(&now, &seen) => seen = now,
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                // As if nothing had been seen.
                () = sleep_until(next) => {
                    (seen, next) = (Arc::default(), Instant::now() + PAUSE);
                }
                // When whoever publishes the configuration is gone, the last one stays.
                changed = self.sources.changed(), if configured => configured = changed.is_ok(),
            }
        }
    }

    /// Those that changed since `seen`.
    async fn look(&self, sources: &Sources, seen: &Sources) {
        for (id, source) in &sources.sources {
            if seen.sources.get(id).is_some_and(|seen| Arc::ptr_eq(seen, source)) {
                continue;
            }
            if let Err(error) = self.note(source).await {
                tracing::warn!(source = %id, %error, "cannot note a suspension, trying later");
            }
            // Mostly it is only read, which does not wait: others have their turn.
            yield_now().await;
        }
    }

    async fn note(&self, source: &Source) -> Result<(), StoreError> {
        for destination in &source.destinations {
            let id = source.id_of(destination);
            let held = self.store.hold_ledger(&id).await?.hold;
            if source.delivery_suspended() {
                let since = self.store.now();
                // Else there is nothing to be written, which the store would find too, later.
                if held.is_none_or(|hold| hold.is_over(since)) {
                    let reason = REASON.to_owned();
                    let hold = Hold { since, until: None, refused: false, reason };
                    self.store.hold_if_free(&id, hold).await?;
                }
            } else if let Some(noted) = held.filter(|hold| hold.reason == REASON && !hold.refused) {
                self.store.end_hold(&id, Ending::This(noted)).await?;
            }
        }
        Ok(())
    }
}
