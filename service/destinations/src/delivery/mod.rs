//! The delivery engine: what takes actions from the store for destinations that are pushed to, has
//! them delivered, and settles what became of them. How a kind delivers lives in its own folder.
//!
//! Every destination has a worker of its own, so none waits for another. A worker holds as many
//! leases as actions may be under way; whatever has to wait, for another attempt or for its turn,
//! waits in the store and holds nothing.

mod attempt;
mod breaker;
mod hold;
mod metrics;
pub(crate) mod outcome;
mod pacer;
mod policy;
mod retry_after;
mod settle;
mod turns;
mod worker;

use std::{collections::HashMap, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use segment_source_core::source::DestinationId;
use segment_source_store::{Clock, Store};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use outcome::{Outcome, code};
pub(crate) use retry_after::retry_after;

use self::{metrics::Metrics, pacer::Pacer, worker::Worker};
use crate::{Destination, Destinations, HttpClient, KnockRates};

/// Delivers to all destinations that are pushed to.
pub struct Deliverer {
    shared: Arc<Shared>,
    destinations: watch::Receiver<Arc<Destinations>>,
    workers: HashMap<DestinationId, Handle>,
    running: JoinSet<()>,
}

/// What all workers share.
struct Shared {
    store: Store,
    client: HttpClient,
    clock: Clock,
    pacer: Pacer,
    metrics: Metrics,
    grace: Duration,
}

/// Ends its worker when it is dropped.
struct Handle {
    destination: watch::Sender<Arc<Destination>>,
    stop: CancellationToken,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Deliverer {
    /// Delivers what waits in `store` for the destinations that are named, by the time of `clock`,
    /// calling Knock no more often than `rates` says.
    /// When it is stopped, attempts under way have `grace` to end.
    #[must_use]
    pub fn new(
        store: Store,
        destinations: watch::Receiver<Arc<Destinations>>,
        client: HttpClient,
        rates: KnockRates,
        registry: &mut Registry,
        clock: Clock,
        grace: Duration,
    ) -> Self {
        let (pacer, metrics) = (Pacer::new(rates), Metrics::register(registry));
        let shared = Arc::new(Shared { store, client, clock, pacer, metrics, grace });
        Self { shared, destinations, workers: HashMap::new(), running: JoinSet::new() }
    }

    /// Delivers until `stop`; returns when nothing is under way any more.
    ///
    /// # Panics
    /// When a worker did.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.follow();
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.destinations.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                Some(ended) = self.running.join_next() => resume(ended),
            }
        }
        self.workers.clear();
        while let Some(ended) = self.running.join_next().await {
            resume(ended);
        }
    }

    /// One worker for each destination that is pushed to, which knows it as it is now.
    fn follow(&mut self) {
        let now = self.destinations.borrow_and_update().clone();
        let pushed = |id: &DestinationId| now.all.get(id).filter(|it| it.kind.is_pushed());
        self.workers.retain(|id, _| pushed(id).is_some());
        for (id, destination) in now.all.iter().filter(|(_, it)| it.kind.is_pushed()) {
            if let Some(worker) = self.workers.get(id) {
                worker.destination.send_if_modified(|known| {
                    let differs = !Arc::ptr_eq(known, destination) && known != destination;
                    if differs {
                        *known = destination.clone();
                    }
                    differs
                });
                continue;
            }
            let (sender, receiver) = watch::channel(destination.clone());
            let stop = CancellationToken::new();
            let worker = Worker::new(self.shared.clone(), id.clone(), receiver);
            self.running.spawn(worker.run(stop.clone()));
            self.workers.insert(id.clone(), Handle { destination: sender, stop });
        }
    }
}

/// A worker that panicked ends everything, as any part of the process does.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
