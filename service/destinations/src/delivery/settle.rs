//! Settlements on their way to the store: one batch at a time, and what ends meanwhile is the next.

use std::time::Duration;

use segment_source_store::{LeaseToken, Settlement, Store, StoreError};
use tokio::{task::JoinHandle, time::sleep};
use tracing::warn;

/// Between tries to write them while the store cannot.
const AGAIN: Duration = Duration::from_millis(500);

/// What is to be settled.
#[derive(Default)]
pub(super) struct Settling {
    waiting: Vec<(LeaseToken, Settlement)>,
    under_way: Option<JoinHandle<()>>,
}

impl Settling {
    pub(super) fn push(&mut self, token: LeaseToken, settlement: Settlement) {
        self.waiting.push((token, settlement));
    }

    /// So many wait that nothing should be added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= 4_096
    }

    /// Sends what waits, unless a batch is under way.
    pub(super) fn start(&mut self, store: &Store) {
        if self.under_way.is_none() && !self.waiting.is_empty() {
            let batch = std::mem::take(&mut self.waiting);
            self.under_way = Some(tokio::spawn(settle(store.clone(), batch)));
        }
    }

    /// Resolves when a batch is written; never, when none is under way.
    pub(super) async fn written(&mut self) {
        match &mut self.under_way {
            // A panic leaves leases that end by themselves.
            Some(under_way) => _ = under_way.await,
            None => std::future::pending().await,
        }
        self.under_way = None;
    }

    /// Writes everything.
    pub(super) async fn finish(&mut self, store: &Store) {
        while self.under_way.is_some() || !self.waiting.is_empty() {
            self.start(store);
            self.written().await;
        }
    }
}

/// Settles them, however long the store cannot; settling again is safe.
async fn settle(store: Store, batch: Vec<(LeaseToken, Settlement)>) {
    loop {
        match store.settle(batch.clone()).await {
            Ok(_) | Err(StoreError::Closing) => return,
            Err(error) => warn!(%error, "deliveries cannot be settled now; trying again"),
        }
        sleep(AGAIN).await;
    }
}
