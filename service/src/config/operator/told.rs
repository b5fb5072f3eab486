//! What the operator has told, over all streams so far: from one response to the next, and what is
//! to be answered. Without IO and clock.
//!
//! Three rules. What was good is never replaced by something that cannot be used. It never goes
//! back in time: a server with an epoch lower than the highest seen is no leader any more. And what
//! could exist is never said not to exist: a source that the operator has named, but not told yet,
//! is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use segment_source_core::source::SourceId;
use segment_source_proto::config::v1::{
    self as wire, Opened, Removed, SourceName, SourceState, Synced, WatchRequest, WatchResponse,
    source_state, watch_response,
};
use segment_source_store::Millis;

use super::answers::Answers;
use crate::config::{Applied, Snapshot, State, memory::Known};

/// Why a source that is named has no configuration.
const NOT_TOLD: &str = "the operator has not told its configuration yet";
const NOT_KEPT: &str = "its configuration is not in the cache; the operator will tell it";

/// Everything the operator has told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// The highest there was.
    epoch: u64,
    sources: BTreeMap<SourceId, State>,
    known: Known,
    /// Whether there is something to serve.
    read: bool,
    /// Whether nothing can exist that is not known.
    synced: bool,
    /// Namespaces that the operator cannot read; anything may be in them.
    unread: BTreeSet<String>,
    /// Number of the newest snapshot.
    version: u64,
    stream: Stream,
}

/// What is forgotten with the stream.
#[derive(Debug, Default, PartialEq)]
struct Stream {
    opened: bool,
    answers: Answers,
}

/// What an earlier process of this replica kept.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kept {
    /// The highest epoch it has seen.
    pub(super) epoch: u64,
    /// Which sources there were.
    pub(super) known: Known,
    /// Those of them whose configuration it had.
    pub(super) sources: BTreeMap<SourceId, Arc<wire::Source>>,
    /// Whether it was told everything once.
    pub(super) complete: bool,
}

/// What a response did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The stream began.
    Opened,
    /// One source is another one now.
    Changed,
    /// Everything was told.
    Synced,
}

/// Why a stream is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Useless {
    /// Another leader was heard that came later.
    #[error(
        "its epoch is {told}, and {seen} was seen before, so it is no leader any more (when the \
         operator's Lease was deleted on purpose, start this replica with an empty cache)"
    )]
    OldEpoch {
        /// The server's epoch.
        told: u64,
        /// The highest seen.
        seen: u64,
    },
    /// It does not keep to the protocol.
    #[error("it does not keep to the protocol: {0}")]
    Protocol(&'static str),
}

impl Told {
    /// Begins with what an earlier process kept. Sources that are not in it may exist.
    pub(super) fn remembering(kept: Kept) -> Self {
        let Kept { epoch, mut known, sources, complete } = kept;
        for id in sources.keys() {
            known.appear(id);
        }
        let not_kept = State::NotLoaded { reason: NOT_KEPT.to_owned() };
        let removed = known.removed.keys().map(|id| (id.clone(), State::RecentlyRemoved));
        let present = known.present.iter().map(|id| (id.clone(), not_kept.clone()));
        let loaded = sources.into_iter().map(|(id, source)| (id, State::Loaded(source)));
        let sources = removed.chain(present).chain(loaded).collect();
        Self { epoch, sources, known, read: complete, ..Self::default() }
    }

    /// A new stream begins; what was known stays.
    pub(super) fn begin(&mut self) {
        self.stream = Stream::default();
    }

    /// Takes in one response.
    pub(super) fn take(&mut self, response: WatchResponse, now: Millis) -> Result<Heard, Useless> {
        use watch_response::Response;
        let response = response.response.ok_or(Useless::Protocol("it said nothing we know"))?;
        match (self.stream.opened, response) {
            (false, Response::Opened(opened)) => self.open(&opened, now)?,
            (true, Response::Opened(_)) => return Err(Useless::Protocol("it opened twice")),
            (false, _) => return Err(Useless::Protocol("it did not begin with Opened")),
            (true, Response::State(state)) => self.state(state),
            (true, Response::Removed(removed)) => self.removed(removed, now),
            (true, Response::Synced(Synced { version })) => {
                (self.read, self.synced) = (true, true);
                self.stream.answers.synced(version, self.version + 1);
                return Ok(Heard::Synced);
            }
        }
        match std::mem::replace(&mut self.stream.opened, true) {
            true => Ok(Heard::Changed),
            false => Ok(Heard::Opened),
        }
    }

    fn open(&mut self, opened: &Opened, now: Millis) -> Result<(), Useless> {
        if opened.epoch < self.epoch {
            return Err(Useless::OldEpoch { told: opened.epoch, seen: self.epoch });
        }
        self.epoch = opened.epoch;
        // A name that is none here has no state that could be taken, either.
        let named: BTreeSet<SourceId> = opened.sources.iter().filter_map(id_of).collect();
        self.unread = opened.unread_namespaces.iter().cloned().collect();
        let there = |id: &SourceId| named.contains(id) || self.unread.contains(id.namespace());
        for id in self.known.only(there, now) {
            self.sources.insert(id, State::RecentlyRemoved);
        }
        for id in named {
            self.not_loaded(&id, NOT_TOLD);
        }
        Ok(())
    }

    fn state(&mut self, told: SourceState) {
        let SourceState { version, source, state } = told;
        let name = source.unwrap_or_default();
        let refused = match id_of(&name) {
            Some(id) => match state {
                Some(source_state::State::Loaded(source)) => self.loaded(&id, source),
                Some(source_state::State::NotLoaded(not)) => {
                    self.not_loaded(&id, &not.reason);
                    None
                }
                // A kind that a newer operator knows.
                None => Some("it is of no kind that this replica knows; upgrade the replica"),
            }
            .inspect(|reason| self.not_loaded(&id, reason)),
            None => Some("it has no name that this replica can use"),
        };
        self.stream.answers.told(version, self.version + 1, name, refused);
    }

    fn loaded(&mut self, id: &SourceId, source: wire::Source) -> Option<&'static str> {
        if (source.namespace.as_str(), source.name.as_str()) != (id.namespace(), id.name()) {
            return Some("it is the configuration of another source");
        }
        self.known.appear(id);
        match self.sources.get(id) {
            Some(State::Loaded(before)) if **before == source => {}
            _ => {
                self.sources.insert(id.clone(), State::Loaded(Arc::new(source)));
            }
        }
        None
    }

    /// It is there, but there is nothing new that could be used.
    fn not_loaded(&mut self, id: &SourceId, reason: &str) {
        self.known.appear(id);
        match self.sources.get(id) {
            Some(State::Loaded(_)) => {}
            // What was wrong with it says more.
            Some(State::NotLoaded { .. }) if reason == NOT_TOLD => {}
            _ => {
                let state = State::NotLoaded { reason: reason.to_owned() };
                self.sources.insert(id.clone(), state);
            }
        }
    }

    fn removed(&mut self, Removed { version, source }: Removed, now: Millis) {
        let name = source.unwrap_or_default();
        if let Some(id) = id_of(&name)
            && self.known.present.contains(&id)
        {
            self.known.vanish(&id, now);
            self.sources.insert(id, State::RecentlyRemoved);
        }
        self.stream.answers.told(version, self.version + 1, name, None);
    }

    /// Lets time pass; says whether that changed anything.
    pub(super) fn pass(&mut self, now: Millis) -> bool {
        let forgotten = self.known.forget(now);
        for id in &forgotten {
            self.sources.remove(id);
        }
        !forgotten.is_empty()
    }

    /// All that is known now, as the next snapshot.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.version += 1;
        Snapshot {
            version: self.version,
            read: self.read,
            synced: self.synced,
            unread: self.unread.clone(),
            sources: self.sources.clone(),
        }
    }

    /// What to answer now that a snapshot is in service.
    pub(super) fn applied(&mut self, applied: &Applied) -> Vec<WatchRequest> {
        self.stream.answers.applied(applied)
    }

    /// The highest epoch there was.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which sources there are and were.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The newest version this stream has told.
    pub(super) fn told_version(&self) -> u64 {
        self.stream.answers.newest()
    }

    /// Whether this stream has told everything.
    pub(super) fn stream_synced(&self) -> bool {
        self.stream.answers.is_synced()
    }
}

fn id_of(name: &SourceName) -> Option<SourceId> {
    SourceId::new(&name.namespace, &name.name).ok()
}
