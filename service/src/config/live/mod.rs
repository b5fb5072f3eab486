//! From snapshots to the tables of the roles, and word of what could not be taken into service. How
//! a table changes is in `tables`; where snapshots come from is the provider's.

mod tables;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use segment_source_core::source::SourceId;
use segment_source_destinations::Destinations;
use segment_source_rpc::Clients;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::tables::Tables;
use super::Snapshot;
use crate::args::Role;

/// The newest table of every role.
#[derive(Clone, Debug)]
pub struct Live {
    /// For the edge; empty in a process without one.
    pub edge: watch::Receiver<Arc<segment_source_edge::Sources>>,
    /// For the ingest; empty in a process without one.
    pub ingest: watch::Receiver<Arc<segment_source_ingest::Sources>>,
    /// For destinations of every kind; as the ingest's.
    pub destinations: watch::Receiver<Arc<Destinations>>,
    /// The internal clients of all sources; as the ingest's.
    pub clients: watch::Receiver<Arc<Clients>>,
    /// Whether the tables hold what there is to serve: see [`Snapshot::read`].
    pub read: watch::Receiver<bool>,
    /// What was made into tables last.
    pub applied: watch::Receiver<Applied>,
}

/// A snapshot that is in service, but for what was refused.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What the tables were made from.
    pub snapshot: Arc<Snapshot>,
    /// The sources of it that cannot be used, and why, for people. What was in service before
    /// stays, and where nothing was, requests are answered 503.
    pub refused: Arc<BTreeMap<SourceId, String>>,
}

/// Turns snapshots into tables for as long as it runs.
pub struct Publisher {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tables: Tables,
    edge: watch::Sender<Arc<segment_source_edge::Sources>>,
    ingest: watch::Sender<Arc<segment_source_ingest::Sources>>,
    destinations: watch::Sender<Arc<Destinations>>,
    clients: watch::Sender<Arc<Clients>>,
    read: watch::Sender<bool>,
    applied: watch::Sender<Applied>,
}

/// The tables of the snapshot there is now, for a process of this role; [`Publisher::run`] keeps
/// them up to date.
#[must_use]
pub fn publish(mut snapshots: watch::Receiver<Arc<Snapshot>>, role: Role) -> (Live, Publisher) {
    let mut tables = Tables::new(role);
    let snapshot = snapshots.borrow_and_update().clone();
    let read = snapshot.read;
    tables.update(snapshot, Instant::now());
    let (edge, edge_seen) = watch::channel(Arc::new(tables.edge()));
    let (ingest, ingest_seen) = watch::channel(Arc::new(tables.ingest()));
    let (destinations, destinations_seen) = watch::channel(Arc::new(tables.destinations()));
    let (clients, clients_seen) = watch::channel(Arc::new(tables.clients()));
    let (read, read_seen) = watch::channel(read);
    let (applied, applied_seen) = watch::channel(tables.applied());
    let live = Live {
        edge: edge_seen,
        ingest: ingest_seen,
        destinations: destinations_seen,
        clients: clients_seen,
        read: read_seen,
        applied: applied_seen,
    };
    (live, Publisher { snapshots, tables, edge, ingest, destinations, clients, read, applied })
}

impl Publisher {
    /// Publishes every new snapshot until `stop`, or until there will be no more.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.snapshots.changed() => if changed.is_err() { return },
            }
            let snapshot = self.snapshots.borrow_and_update().clone();
            let read = snapshot.read;
            let changed = self.tables.update(snapshot, Instant::now());
            // Destinations and mappings first: an event is never accepted for less than is configured.
            if changed.destinations {
                self.destinations.send_replace(Arc::new(self.tables.destinations()));
            }
            if changed.processing {
                self.ingest.send_replace(Arc::new(self.tables.ingest()));
                // Open calls ask again for their rights when this changes.
                let clients = self.tables.clients();
                self.clients.send_if_modified(|before| {
                    let changed = **before != clients;
                    if changed {
                        *before = Arc::new(clients);
                    }
                    changed
                });
            }
            if changed.verification {
                self.edge.send_replace(Arc::new(self.tables.edge()));
            }
            self.read.send_if_modified(|before| std::mem::replace(before, read) != read);
            self.applied.send_replace(self.tables.applied());
        }
    }
}
