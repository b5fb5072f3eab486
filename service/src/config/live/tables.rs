//! The tables of the roles, brought from one snapshot to the next. Only what changed is made anew:
//! what the edge has learned about a secret, and its rate limit, outlive the edit of a mapping, and
//! among ten thousand sources one change costs no more than a look at each of the others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use segment_source_core::source::{DestinationId, SourceId};
use segment_source_destinations::{Destination, Destinations};
use segment_source_edge::{LiveSource, SourceState};
use segment_source_ingest::SCHEMA_LEVEL;
use segment_source_proto::config::v1 as wire;
use segment_source_rpc::Clients;
use tracing::error;

use super::Applied;
use crate::{
    args::Role,
    config::{Snapshot, State, changes::changes},
};

/// What the roles of this process run on.
pub(super) struct Tables {
    role: Role,
    /// What they were made from.
    snapshot: Arc<Snapshot>,
    edge: HashMap<SourceId, SourceState>,
    ingest: HashMap<SourceId, Arc<segment_source_ingest::Source>>,
    destinations: HashMap<DestinationId, Arc<Destination>>,
    /// The message each source in service was made from.
    made_from: HashMap<SourceId, Arc<wire::Source>>,
    refused: Arc<BTreeMap<SourceId, String>>,
}

/// Which tables an update changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) verification: bool,
    pub(super) processing: bool,
    pub(super) destinations: bool,
}

/// What one message makes in this process.
struct Made {
    edge: Option<Arc<LiveSource>>,
    ingest: Option<Ingested>,
}

/// What the ingest role runs on.
struct Ingested {
    source: Arc<segment_source_ingest::Source>,
    destinations: Vec<(DestinationId, Arc<Destination>)>,
}

impl Tables {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            snapshot: Arc::default(),
            edge: HashMap::new(),
            ingest: HashMap::new(),
            destinations: HashMap::new(),
            made_from: HashMap::new(),
            refused: Arc::default(),
        }
    }

    pub(super) fn update(&mut self, snapshot: Arc<Snapshot>, now: Instant) -> Changed {
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let names = (snapshot.synced, &snapshot.unread) != (before.synced, &before.unread);
        let mut changed = Changed { verification: names, ..Changed::default() };
        for (id, state) in changes(&before.sources, &snapshot.sources) {
            match state {
                Some(State::Loaded(source)) => self.load(id, source, now, &mut changed),
                Some(State::NotLoaded { reason }) => {
                    let state = SourceState::NotLoaded { reason: reason.clone() };
                    self.take_out(id, Some(state), &mut changed);
                }
                Some(State::RecentlyRemoved) => {
                    self.take_out(id, Some(SourceState::RecentlyRemoved), &mut changed);
                }
                None => self.take_out(id, None, &mut changed),
            }
        }
        changed
    }

    /// Takes a message into service as a whole, or leaves what is.
    fn load(
        &mut self,
        id: &SourceId,
        source: &Arc<wire::Source>,
        now: Instant,
        changed: &mut Changed,
    ) {
        match self.make(id, source, now) {
            Ok(made) => self.put(id, source, made, changed),
            Err(reason) => {
                let stays = match self.made_from.contains_key(id) {
                    true => "what was in service before stays",
                    false => "the source answers 503",
                };
                error!("the new configuration of {id} is refused, {stays}: {reason}");
                if self.role.has_edge() && !self.made_from.contains_key(id) {
                    let state = SourceState::NotLoaded { reason: reason.clone() };
                    self.edge.insert(id.clone(), state);
                    changed.verification = true;
                }
                Arc::make_mut(&mut self.refused).insert(id.clone(), reason);
            }
        }
    }

    /// Parses what the roles of this process need; what did not change is shared.
    fn make(&self, id: &SourceId, source: &wire::Source, now: Instant) -> Result<Made, String> {
        if source.schema_level > SCHEMA_LEVEL {
            return Err(format!(
                "schema_level: this source needs level {}, this replica knows {SCHEMA_LEVEL}; \
                 upgrade the replica",
                source.schema_level
            ));
        }
        let before = self.made_from.get(id);
        Ok(Made {
            edge: match self.role.has_edge() {
                true => Some(self.live(id, source, before, now)?),
                false => None,
            },
            ingest: match self.role.has_ingest() {
                true => Some(self.ingested(id, source, before)?),
                false => None,
            },
        })
    }

    fn live(
        &self,
        id: &SourceId,
        source: &wire::Source,
        before: Option<&Arc<wire::Source>>,
        now: Instant,
    ) -> Result<Arc<LiveSource>, String> {
        let previous = match self.edge.get(id) {
            Some(SourceState::Live(live)) => Some(live),
            _ => None,
        };
        if let (Some(before), Some(live)) = (before, previous)
            && before.verification == source.verification
        {
            return Ok(live.clone());
        }
        let verification = source
            .verification
            .as_ref()
            .ok_or("verification: missing, so there is nothing to verify webhooks by")?;
        let previous = previous.map(Arc::as_ref);
        Ok(Arc::new(LiveSource::from_wire(id, verification, previous, now)?))
    }

    fn ingested(
        &self,
        id: &SourceId,
        source: &wire::Source,
        before: Option<&Arc<wire::Source>>,
    ) -> Result<Ingested, String> {
        let same = |before: &wire::Source| {
            before.processing == source.processing && before.generation == source.generation
        };
        let destinations = match &source.processing {
            Some(processing) => segment_source_destinations::from_wire(id, processing)?,
            None => Vec::new(),
        };
        let source = match (before, self.ingest.get(id)) {
            (Some(before), Some(ingested)) if same(before) => ingested.clone(),
            _ => Arc::new(segment_source_ingest::Source::from_wire(source)?),
        };
        Ok(Ingested { source, destinations })
    }

    fn put(
        &mut self,
        id: &SourceId,
        source: &Arc<wire::Source>,
        made: Made,
        changed: &mut Changed,
    ) {
        self.accept(id);
        let before = self.made_from.insert(id.clone(), source.clone());
        if let Some(live) = made.edge {
            let same = |before: &SourceState| matches!(before, SourceState::Live(it) if Arc::ptr_eq(it, &live));
            changed.verification |= !self.edge.get(id).is_some_and(same);
            self.edge.insert(id.clone(), SourceState::Live(live));
        }
        if let Some(Ingested { source: ingested, destinations }) = made.ingest {
            let same = |before: &Arc<_>| Arc::ptr_eq(before, &ingested);
            if !self.ingest.get(id).is_some_and(same) {
                changed.processing = true;
                let before: Vec<_> = before.iter().flat_map(|it| destinations_of(id, it)).collect();
                let names: Vec<_> = destinations.iter().map(|(id, _)| id.clone()).collect();
                let same = |(id, now)| self.destinations.get(id) == Some(now);
                if before != names || !destinations.iter().map(|it| (&it.0, &it.1)).all(same) {
                    changed.destinations = true;
                    for destination in before {
                        self.destinations.remove(&destination);
                    }
                    self.destinations.extend(destinations);
                }
                self.ingest.insert(id.clone(), ingested);
            }
        }
    }

    /// Ends the service of a source; `state` says what it is now, if it is anything.
    fn take_out(&mut self, id: &SourceId, state: Option<SourceState>, changed: &mut Changed) {
        self.accept(id);
        if let Some(before) = self.made_from.remove(id)
            && self.ingest.remove(id).is_some()
        {
            (changed.processing, changed.destinations) = (true, true);
            for destination in destinations_of(id, &before) {
                self.destinations.remove(&destination);
            }
        }
        if self.role.has_edge() {
            changed.verification = true;
            match state {
                Some(state) => self.edge.insert(id.clone(), state),
                None => self.edge.remove(id),
            };
        }
    }

    /// Nothing of this source is refused any more.
    fn accept(&mut self, id: &SourceId) {
        if self.refused.contains_key(id) {
            Arc::make_mut(&mut self.refused).remove(id);
        }
    }

    pub(super) fn edge(&self) -> segment_source_edge::Sources {
        let (synced, unread) = (self.snapshot.synced, self.snapshot.unread.clone());
        segment_source_edge::Sources { synced, unread, sources: self.edge.clone() }
    }

    pub(super) fn ingest(&self) -> segment_source_ingest::Sources {
        segment_source_ingest::Sources { sources: self.ingest.clone() }
    }

    pub(super) fn destinations(&self) -> Destinations {
        Destinations { all: self.destinations.clone() }
    }

    pub(super) fn clients(&self) -> Clients {
        Clients::new(self.ingest.iter().map(|(id, source)| (id, source.access())))
    }

    pub(super) fn applied(&self) -> Applied {
        Applied { snapshot: self.snapshot.clone(), refused: self.refused.clone() }
    }
}

/// The destinations a source has.
fn destinations_of<'a>(
    id: &'a SourceId,
    source: &'a wire::Source,
) -> impl Iterator<Item = DestinationId> + 'a {
    let destinations = source.processing.iter().flat_map(|it| &it.destinations);
    destinations.map(|it| DestinationId { source: id.clone(), name: it.name.as_str().into() })
}
