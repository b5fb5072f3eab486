//! Configuration from an operator: a stream over the network, opened again and again (`dial`,
//! `stream`), what it has told so far (`told`, `answers`), and what of it outlives a restart
//! (`cache`). The protocol is explained in `config.proto`.

mod answers;
mod cache;
mod dial;
mod metrics;
mod stream;
#[cfg(test)]
mod tests;
mod told;

use std::{path::PathBuf, sync::Arc};

use prometheus_client::registry::Registry;
use segment_source_runtime::{net::Address, tls::Identities};
use segment_source_store::Clock;
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    cache::{Beside, Cache, Owner},
    dial::Servers,
    metrics::Metrics,
    stream::Client,
    told::Told,
};
use super::{Applied, Snapshot, State};
use crate::args::Role;

/// Which operator is listened to, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the operator is; a name may have several addresses, one of them the leader's.
    pub address: Address,
    /// By which certificate; `None`: without TLS.
    pub identities: Option<Identities>,
    /// What this process needs to know.
    pub role: Role,
    /// What the operator shows people as the name of this replica.
    pub replica: String,
    /// The folder in which the configuration outlives a restart.
    pub cache: PathBuf,
}

/// An operator that can be listened to.
pub struct Operator {
    client: Client,
    cache: Cache,
    beside: watch::Receiver<Beside>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Operator {
    /// Takes what the cache holds; nothing is dialled yet.
    ///
    /// # Errors
    /// Only when the runtime ends.
    pub async fn open(
        settings: Settings,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, JoinError> {
        let owner = Owner::new(&settings.address, settings.role);
        let folder = settings.cache.clone();
        let (cache, kept) = spawn_blocking(move || Cache::open(&folder, owner)).await?;
        let mut told = Told::remembering(kept);
        let snapshot = told.snapshot();
        let loaded = |state: &&State| matches!(state, State::Loaded(_));
        info!(
            operator = %settings.address,
            sources = snapshot.sources.values().filter(loaded).count(),
            "configuration read from the cache; the operator is asked for newer"
        );
        let (snapshots, seen) = watch::channel(Arc::new(snapshot));
        let (kept_beside, beside) = watch::channel(Beside::default());
        let client = Client {
            servers: Servers::new(settings.address, settings.identities),
            role: settings.role,
            replica: settings.replica,
            clock,
            told,
            snapshots,
            beside: kept_beside,
            metrics: Metrics::register(registry),
        };
        client.tell_beside();
        Ok(Self { client, cache, beside, snapshots: seen })
    }

    /// What is known now, and whenever it changes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Listens until `stop`. `applied` says what became of each snapshot.
    pub async fn run(self, applied: watch::Receiver<Applied>, stop: CancellationToken) {
        let Self { client, cache, beside, .. } = self;
        let keeping = keep(cache, beside, applied.clone(), stop.clone());
        let listening = async {
            tokio::select! {
                () = client.run(applied) => {}
                () = stop.cancelled() => {}
            }
        };
        tokio::join!(keeping, listening);
    }
}

/// Keeps in the cache what is in service, until `stop`.
async fn keep(
    mut cache: Cache,
    beside: watch::Receiver<Beside>,
    mut applied: watch::Receiver<Applied>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
        let (applied, beside) = (applied.borrow_and_update().clone(), beside.borrow().clone());
        let saved = spawn_blocking(move || {
            cache.save(&applied, &beside);
            cache
        });
        // Only fails when the runtime ends, or after a panic that was reported.
        let Ok(next) = saved.await else { return };
        cache = next;
    }
}
