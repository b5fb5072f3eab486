//! What the table's lock guards: sources and removals by version, and the replicas.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use prost::Message as _;
use segment_source_proto::config::v1::{
    NotLoaded, Opened, Removed, Source, SourceState, Synced, WatchResponse, source_state,
    watch_response::Response,
};

use super::{
    Held, Hello, Numbers, Progress, Published, Stale,
    replica::{Nack, Replica},
};
use crate::name::Name;

/// Removals remembered for replicas that have not heard of them. One that is further behind has
/// to connect again, which tells it all names there are.
const REMOVALS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct State {
    version: u64,
    sources: BTreeMap<Name, Entry>,
    /// How many of them, outside of unread namespaces, nothing is known of.
    unknown: usize,
    /// Namespaces of which it is not known what is in them.
    unread: BTreeSet<String>,
    /// How often one of those was read after all.
    reads: u64,
    /// What changed at which version; each source once, and once more when it went before and is
    /// another object now.
    order: BTreeMap<u64, Name>,
    /// Those of `order` at which a source went.
    removals: BTreeSet<u64>,
    /// The same by source, and which object it was.
    removed: HashMap<Name, (u64, Box<str>)>,
    /// Removals up to this version were forgotten while a replica might not have heard of them.
    forgotten: u64,
    /// Sources of which it was not reported that replicas run them.
    unsettled: BTreeSet<Name>,
    replicas: BTreeMap<u64, Replica>,
    next_replica: u64,
}

#[derive(Debug)]
struct Entry {
    /// 0 while nothing is known.
    version: u64,
    /// Of the object that it is about.
    uid: Box<str>,
    kept: Kept,
}

/// [`Held`], small.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    /// It exists; nothing more can be said yet.
    Unknown,
    Loaded(Packed),
    NotLoaded(Arc<str>),
}

/// An encoded source, which takes a fraction of the memory.
#[derive(PartialEq, Eq)]
struct Packed {
    generation: i64,
    bytes: Box<[u8]>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed(generation {}, redacted)", self.generation)
    }
}

impl Packed {
    fn of(source: &Source) -> Self {
        Self { generation: source.generation, bytes: source.encode_to_vec().into() }
    }

    fn source(&self) -> Source {
        // It was encoded here.
        Source::decode(&self.bytes[..]).unwrap_or_default()
    }
}

impl From<&Held> for Kept {
    fn from(held: &Held) -> Self {
        match held {
            Held::Loaded(source) => Self::Loaded(Packed::of(source)),
            Held::NotLoaded(reason) => Self::NotLoaded(reason.clone()),
        }
    }
}

impl State {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Whether it took the place of another object.
    pub(super) fn exists(&mut self, name: &Name, uid: &str) -> bool {
        let before = self.sources.get(name).map(|it| *it.uid == *uid);
        if before == Some(true) {
            return false;
        }
        // What was good is of the object that is gone: nobody must go on with it.
        let replaced = before == Some(false) && self.remove(name);
        let entry = Entry { version: 0, uid: uid.into(), kept: Kept::Unknown };
        self.sources.insert(name.clone(), entry);
        self.unknown += usize::from(!self.unread.contains(&name.namespace));
        self.unsettled.insert(name.clone());
        // Who has not heard that it was gone need not, now that the same object is back.
        if self.removed.get(name).is_some_and(|(_, before)| **before == *uid) {
            self.forget_removal(name);
        }
        replaced
    }

    fn forget_removal(&mut self, name: &Name) {
        if let Some((version, _)) = self.removed.remove(name) {
            self.removals.remove(&version);
            self.order.remove(&version);
        }
    }

    /// Nobody can say what is in this namespace; what is known of it is held back. To be said
    /// before anything is published.
    pub(super) fn cannot_read(&mut self, namespace: &str) {
        if self.unread.insert(namespace.to_owned()) {
            self.unknown -= self.unknown_in(namespace);
        }
    }

    /// Whether this is news: everything in the namespace has been named after all.
    pub(super) fn has_read(&mut self, namespace: &str) -> bool {
        let news = self.unread.remove(namespace);
        if news {
            self.unknown += self.unknown_in(namespace);
            self.reads += 1;
        }
        news
    }

    pub(super) fn is_unread(&self, namespace: &str) -> bool {
        self.unread.contains(namespace)
    }

    fn unknown_in(&self, namespace: &str) -> usize {
        let unknown =
            |it: &(&Name, &Entry)| it.0.namespace == *namespace && it.1.kept == Kept::Unknown;
        self.sources.iter().filter(unknown).count()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &Name) -> bool {
        let Some(entry) = self.sources.remove(name) else { return false };
        let counted = !self.unread.contains(&name.namespace);
        self.unknown -= usize::from(counted && entry.kept == Kept::Unknown);
        self.order.remove(&entry.version);
        self.unsettled.remove(name);
        for replica in self.replicas.values_mut() {
            replica.nacks.remove(name);
        }
        self.forget_removal(name);
        let version = self.next_version();
        self.order.insert(version, name.clone());
        self.removed.insert(name.clone(), (version, entry.uid));
        self.removals.insert(version);
        self.forget_removals();
        true
    }

    /// Drops removals that every replica has heard of, and the oldest of too many.
    fn forget_removals(&mut self) {
        let heard = self.replicas.values().map(|it| it.sent.max(it.since)).min();
        let heard = heard.unwrap_or(self.version);
        while let Some(version) = self.removals.first().copied() {
            if version > heard {
                if self.removals.len() <= REMOVALS {
                    break;
                }
                self.forgotten = version;
            }
            self.removals.remove(&version);
            if let Some(name) = self.order.remove(&version) {
                self.removed.remove(&name);
            }
        }
    }

    pub(super) fn publish(&mut self, name: &Name, uid: &str, held: &Held) -> Published {
        let entry = self.sources.get(name).filter(|it| *it.uid == *uid);
        let Some(entry) = entry else { return Published::default() };
        if self.unread.contains(&name.namespace) {
            return Published::default();
        }
        let kept = Kept::from(held);
        let keeps = match (&entry.kept, &kept) {
            (Kept::Loaded(_), Kept::NotLoaded(_)) => true,
            (before, now) => before == now,
        };
        if keeps {
            return Published::default();
        }
        let rotated = match (&entry.kept, held) {
            (Kept::Loaded(before), Held::Loaded(now)) => {
                before.generation == now.generation && secrets(&before.source()) != secrets(now)
            }
            _ => false,
        };
        let generation = |kept: &Kept| match kept {
            Kept::Loaded(source) => Some(source.generation),
            Kept::Unknown | Kept::NotLoaded(_) => None,
        };
        // From now on answers are news, not only from the report on.
        if generation(&entry.kept) != generation(&kept) {
            self.unsettled.insert(name.clone());
        }
        self.unknown -= usize::from(entry.kept == Kept::Unknown);
        self.order.remove(&entry.version);
        let uid = entry.uid.clone();
        let version = self.next_version();
        self.order.insert(version, name.clone());
        self.sources.insert(name.clone(), Entry { version, uid, kept });
        for replica in self.replicas.values_mut() {
            replica.nacks.remove(name);
        }
        Published { changed: true, rotated }
    }

    pub(super) fn is_known(&self, name: &Name) -> bool {
        self.sources.get(name).is_some_and(|it| it.version > 0)
    }

    pub(super) fn running(&self, name: &Name) -> Option<i64> {
        match &self.sources.get(name)?.kept {
            Kept::Loaded(source) => Some(source.generation),
            Kept::Unknown | Kept::NotLoaded(_) => None,
        }
    }

    pub(super) fn knows_all(&self) -> bool {
        self.unknown == 0
    }

    pub(super) fn progress(&self, name: &Name, generation: i64) -> Progress {
        let Some(Entry { version, kept: Kept::Loaded(source), .. }) = self.sources.get(name) else {
            return Progress::Pending;
        };
        if source.generation != generation {
            return Progress::Pending;
        }
        if self.replicas.is_empty() {
            return Progress::NoReplicas;
        }
        let refusal = self.replicas.values().find_map(|it| {
            let nack = it.nacks.get(name).filter(|nack| nack.version == *version)?;
            let (replica, reason) = (it.hello.replica.clone(), nack.reason.clone());
            Some(Progress::Refused { replica, reason })
        });
        refusal.unwrap_or_else(|| match self.replicas.values().all(|it| it.acked >= *version) {
            true => Progress::Programmed,
            false => Progress::Pending,
        })
    }

    pub(super) fn settle(&mut self, name: &Name, settled: bool) {
        if settled {
            self.unsettled.remove(name);
        } else if self.sources.contains_key(name) {
            self.unsettled.insert(name.clone());
        }
    }

    pub(super) fn numbers(&self) -> Numbers {
        let mut numbers = Numbers { unread: self.unread.len(), ..Numbers::default() };
        for replica in self.replicas.values() {
            *numbers.replicas.entry(replica.hello.roles.label()).or_default() += 1;
            numbers.lag = numbers.lag.max(self.behind(replica));
            numbers.refusals += replica.nacks.len();
        }
        numbers
    }
}

impl State {
    /// How many versions that a replica is or was told it has not answered. Of a source that went
    /// before it connected it is told nothing.
    fn behind(&self, replica: &Replica) -> u64 {
        let open = self.order.range(replica.acked + 1..);
        let told = |version: &u64| !self.removals.contains(version) || *version > replica.since;
        open.filter(|(version, _)| told(version)).count() as u64
    }
}

/// What replicas hear, and what they answer.
impl State {
    pub(super) fn open(&mut self, hello: Hello) -> u64 {
        self.next_replica += 1;
        let mut replica = Replica::new(hello);
        replica.since = self.version;
        self.replicas.insert(self.next_replica, replica);
        self.next_replica
    }

    /// Those whose progress may have changed.
    pub(super) fn close(&mut self, id: u64) -> Vec<Name> {
        self.replicas.remove(&id);
        self.forget_removals();
        self.unsettled.iter().cloned().collect()
    }

    pub(super) fn next(&mut self, id: u64, epoch: u64) -> Result<Option<WatchResponse>, Stale> {
        let Some(replica) = self.replicas.get_mut(&id) else { return Ok(None) };
        if !replica.opened {
            replica.opened = true;
            replica.since = self.version;
            replica.reads = self.reads;
            let told = |name: &&Name| !self.unread.contains(&name.namespace);
            replica.owed = self.sources.keys().filter(told).cloned().collect();
            return Ok(Some(response(Response::Opened(Opened {
                epoch,
                sources: self.sources.keys().map(Name::to_wire).collect(),
                unread_namespaces: self.unread.iter().cloned().collect(),
            }))));
        }
        if replica.reads != self.reads {
            return Err(Stale::Read);
        }
        if replica.sent.max(replica.since) < self.forgotten {
            return Err(Stale::Behind);
        }
        while let Some((&version, name)) = self.order.range(replica.sent + 1..).next() {
            replica.sent = version;
            let entry = self.sources.get(name).filter(|it| it.version == version);
            let source = Some(name.to_wire());
            // Of one that is back, the state is owed still.
            if entry.is_some() || !self.sources.contains_key(name) {
                replica.owed.remove(name);
            }
            let state = match entry.map(|it| &it.kept) {
                Some(Kept::Loaded(it)) => {
                    source_state::State::Loaded(replica.hello.roles.view(it.source()))
                }
                Some(Kept::NotLoaded(reason)) => {
                    source_state::State::NotLoaded(NotLoaded { reason: reason.to_string() })
                }
                Some(Kept::Unknown) => continue,
                None if version <= replica.since => continue,
                None => {
                    replica.told = version;
                    return Ok(Some(response(Response::Removed(Removed { version, source }))));
                }
            };
            replica.told = version;
            let state = SourceState { version, source, state: Some(state) };
            return Ok(Some(response(Response::State(state))));
        }
        if !replica.synced && replica.owed.is_empty() {
            replica.synced = true;
            return Ok(Some(response(Response::Synced(Synced { version: replica.told }))));
        }
        Ok(None)
    }

    /// Those whose progress may have changed.
    pub(super) fn ack(&mut self, id: u64, version: u64) -> Vec<Name> {
        let Some(replica) = self.replicas.get_mut(&id) else { return Vec::new() };
        // Nobody can have what was not sent.
        let version = version.min(replica.sent);
        if version <= replica.acked {
            return Vec::new();
        }
        let answered = replica.acked + 1..=version;
        replica.acked = version;
        let names = self.order.range(answered).map(|(_, name)| name);
        names.filter(|name| self.unsettled.contains(*name)).cloned().collect()
    }

    /// Whether it counts: it does not when there is a newer state by now.
    pub(super) fn nack(&mut self, id: u64, version: u64, name: &Name, reason: String) -> bool {
        let current = self.sources.get(name).map(|it| it.version) == Some(version);
        let Some(replica) = self.replicas.get_mut(&id).filter(|_| current) else { return false };
        if version > replica.sent {
            return false;
        }
        replica.nacks.insert(name.clone(), Nack { version, reason });
        self.unsettled.insert(name.clone());
        true
    }
}

fn response(response: Response) -> WatchResponse {
    WatchResponse { response: Some(response) }
}

/// Every secret value of a source, in a fixed order.
fn secrets(source: &Source) -> Vec<&[u8]> {
    let verification = source.verification.iter();
    let signing = verification.clone().flat_map(|it| &it.secrets);
    let header = verification.filter_map(|it| it.required_header.as_ref()?.value.as_ref());
    let access = source.processing.iter().flat_map(|it| &it.access);
    let tokens = access.filter_map(|it| it.token.as_ref());
    signing.chain(header).chain(tokens).map(|it| &it.value[..]).collect()
}
