//! From snapshots to the tables of the roles. Only what changed is made anew, so that what the edge
//! has learned about a secret, and its rate limit, outlive the edit of a mapping.

use std::{collections::HashMap, sync::Arc, time::Instant};

use segment_source_core::source::{DestinationId, SourceId};
use segment_source_destinations::queue::{QueueState, Queues};
use segment_source_edge::{LiveSource, SourceState};
use segment_source_proto::config::v1 as wire;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{Snapshot, State};

/// The newest table of every role.
#[derive(Clone, Debug)]
pub struct Live {
    /// For the edge.
    pub edge: watch::Receiver<Arc<segment_source_edge::Sources>>,
    /// For the ingest.
    pub ingest: watch::Receiver<Arc<segment_source_ingest::Sources>>,
    /// For queue destinations.
    pub queues: watch::Receiver<Arc<Queues>>,
    /// Whether the tables hold what could be read. One file that cannot be is no reason to wait:
    /// its sources answer 503, and all others are served.
    pub read: watch::Receiver<bool>,
}

/// Turns snapshots into tables for as long as it runs.
pub struct Publisher {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tables: Tables,
    edge: watch::Sender<Arc<segment_source_edge::Sources>>,
    ingest: watch::Sender<Arc<segment_source_ingest::Sources>>,
    queues: watch::Sender<Arc<Queues>>,
    read: watch::Sender<bool>,
}

/// The tables of the snapshot there is now; [`Publisher::run`] keeps them up to date.
#[must_use]
pub fn publish(mut snapshots: watch::Receiver<Arc<Snapshot>>) -> (Live, Publisher) {
    let mut tables = Tables::default();
    let snapshot = snapshots.borrow_and_update().clone();
    tables.update(&snapshot, Instant::now());
    let (edge, edge_seen) = watch::channel(Arc::new(tables.edge()));
    let (ingest, ingest_seen) = watch::channel(Arc::new(tables.ingest()));
    let (queues, queues_seen) = watch::channel(Arc::new(tables.queues()));
    let (read, read_seen) = watch::channel(snapshot.read);
    let live = Live { edge: edge_seen, ingest: ingest_seen, queues: queues_seen, read: read_seen };
    (live, Publisher { snapshots, tables, edge, ingest, queues, read })
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
            let changed = self.tables.update(&snapshot, Instant::now());
            // Queues and mappings first: an event is never accepted for less than is configured.
            if changed.processing {
                self.queues.send_replace(Arc::new(self.tables.queues()));
                self.ingest.send_replace(Arc::new(self.tables.ingest()));
            }
            if changed.verification {
                self.edge.send_replace(Arc::new(self.tables.edge()));
            }
            self.read
                .send_if_modified(|read| std::mem::replace(read, snapshot.read) != snapshot.read);
        }
    }
}

/// What the roles run on.
#[derive(Default)]
struct Tables {
    synced: bool,
    edge: HashMap<SourceId, SourceState>,
    ingest: HashMap<SourceId, Ingested>,
    /// The message each source was made from.
    made_from: HashMap<SourceId, Arc<wire::Source>>,
}

#[derive(Clone)]
struct Ingested {
    source: Arc<segment_source_ingest::Source>,
    queues: Vec<(Box<str>, QueueState)>,
}

/// Which tables an update changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changed {
    verification: bool,
    processing: bool,
}

impl Tables {
    fn update(&mut self, snapshot: &Snapshot, now: Instant) -> Changed {
        let before = std::mem::take(self);
        self.synced = snapshot.synced;
        for (id, state) in &snapshot.sources {
            match state {
                State::Loaded(source) => {
                    self.made_from.insert(id.clone(), source.clone());
                    self.edge.insert(id.clone(), before.live(id, source, now));
                    let ingested = before.ingested(id, source);
                    self.ingest.extend(ingested.map(|ingested| (id.clone(), ingested)));
                }
                State::NotLoaded { reason } => {
                    let reason = reason.clone();
                    self.edge.insert(id.clone(), SourceState::NotLoaded { reason });
                }
                State::RecentlyRemoved => {
                    self.edge.insert(id.clone(), SourceState::RecentlyRemoved);
                }
            }
        }
        Changed {
            verification: self.synced != before.synced || differ(&self.edge, &before.edge, same),
            processing: differ(&self.ingest, &before.ingest, |one, other| {
                Arc::ptr_eq(&one.source, &other.source)
            }),
        }
    }

    /// The edge's part of a source; the same one as before when its message is.
    fn live(&self, id: &SourceId, source: &wire::Source, now: Instant) -> SourceState {
        let before = self.made_from.get(id);
        let previous = match self.edge.get(id) {
            Some(SourceState::Live(live)) => Some(live),
            _ => None,
        };
        if let (Some(before), Some(live)) = (before, previous)
            && before.verification == source.verification
        {
            return SourceState::Live(live.clone());
        }
        let verification = source.verification.clone().unwrap_or_default();
        let previous = previous.map(Arc::as_ref);
        match LiveSource::from_wire(id, &verification, previous, now) {
            Ok(live) => SourceState::Live(Arc::new(live)),
            Err(reason) => {
                error!("{id} cannot be served: {reason}");
                SourceState::NotLoaded { reason }
            }
        }
    }

    /// The ingest's part of a source; the one before when the message is the same or is refused.
    fn ingested(&self, id: &SourceId, source: &Arc<wire::Source>) -> Option<Ingested> {
        let previous = self.ingest.get(id);
        if let (Some(before), Some(ingested)) = (self.made_from.get(id), previous)
            && before.processing == source.processing
            && before.generation == source.generation
        {
            return Some(ingested.clone());
        }
        match segment_source_ingest::Source::from_wire(source) {
            Ok(made) => Some(Ingested { source: Arc::new(made), queues: queues_of(source) }),
            Err(reason) => {
                error!("{id}: the events of this source wait, or are mapped as before: {reason}");
                previous.cloned()
            }
        }
    }

    fn edge(&self) -> segment_source_edge::Sources {
        segment_source_edge::Sources { synced: self.synced, sources: self.edge.clone() }
    }

    fn ingest(&self) -> segment_source_ingest::Sources {
        let sources = self.ingest.iter().map(|(id, it)| (id.clone(), it.source.clone()));
        segment_source_ingest::Sources { sources: sources.collect() }
    }

    fn queues(&self) -> Queues {
        let queues = self.ingest.iter().flat_map(|(id, ingested)| {
            let queue = |(name, state): &(Box<str>, QueueState)| {
                (DestinationId { source: id.clone(), name: name.clone() }, *state)
            };
            ingested.queues.iter().map(queue)
        });
        Queues { queues: queues.collect() }
    }
}

fn queues_of(source: &wire::Source) -> Vec<(Box<str>, QueueState)> {
    let Some(processing) = &source.processing else { return Vec::new() };
    let state = QueueState { suspended: processing.delivery_suspended };
    let queue =
        |it: &&wire::Destination| matches!(it.kind, Some(wire::destination::Kind::Queue(_)));
    let queues = processing.destinations.iter().filter(queue);
    queues.map(|it| (it.name.clone().into_boxed_str(), state)).collect()
}

fn same(one: &SourceState, other: &SourceState) -> bool {
    match (one, other) {
        (SourceState::Live(one), SourceState::Live(other)) => Arc::ptr_eq(one, other),
        (SourceState::NotLoaded { reason }, SourceState::NotLoaded { reason: other }) => {
            reason == other
        }
        (SourceState::RecentlyRemoved, SourceState::RecentlyRemoved) => true,
        _ => false,
    }
}

fn differ<T>(
    one: &HashMap<SourceId, T>,
    other: &HashMap<SourceId, T>,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    let kept = |(id, it): (&SourceId, &T)| other.get(id).is_some_and(|other| same(it, other));
    one.len() != other.len() || !one.iter().all(kept)
}
