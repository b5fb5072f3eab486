//! Lets go of what need not be kept: old entries of the logs, and actions that no consumer came for.
//! What may go, and that nothing owed goes, is the store's to decide.

use std::{sync::Arc, time::Duration};

use segment_source_core::source::DestinationId;
use segment_source_store::{Reason, Retain, StoreError, embedded::Store, system_clock};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{Source, Sources};

/// Between two looks at all sources.
const PAUSE: Duration = Duration::from_secs(60);

/// Actions wait so long in a queue without being done.
const QUEUE: Duration = Duration::from_hours(7 * 24);

/// Looks at every source again and again.
pub struct Retention {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
}

impl Retention {
    /// [`Retention::run`] starts it.
    #[must_use]
    pub fn new(store: Store, sources: watch::Receiver<Arc<Sources>>) -> Self {
        Self { store, sources }
    }

    /// Until `cancel` is cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let endless = async {
            loop {
                let sources = self.sources.borrow().clone();
                for source in sources.sources.values() {
                    if let Err(error) = self.look(source).await {
                        let source = source.id();
                        tracing::warn!(%source, %error, "the log could not be cleared, trying later");
                    }
                }
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = endless => {}
        }
    }

    async fn look(&self, source: &Source) -> Result<(), StoreError> {
        let now = system_clock()();
        let before =
            |age: Duration| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        for destination in source.destinations.iter().filter(|it| it.kind == "queue") {
            let name = destination.name.as_str().into();
            let queue = DestinationId { source: source.id().clone(), name };
            let reason = Reason {
                code: "expired".to_owned(),
                message: "no consumer has taken it for 7 days".to_owned(),
            };
            while self.store.expire(&queue, before(QUEUE), reason.clone()).await?.more {}
        }
        let keep = Retain { before: before(source.retention.age), bytes: source.retention.bytes };
        while self.store.retain(source.id(), keep).await?.more {}
        Ok(())
    }
}
