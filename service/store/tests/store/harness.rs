//! A store on a folder of its own with a clock that tests move, and builders that read as
//! sentences.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use segment_source_core::{
    event::{ActionId, Event, EventId, Verdict, Verification},
    source::{DestinationId, SourceId},
};
use segment_source_store::{
    Accepted, ActionState, Clock, Leased, LogEntry, Millis, NewAction, NewEvent, PlannedEvent,
    Queue, Reason, Receipt, Settled, Settlement, Store, Unplanned,
    embedded::{self, Options},
    redis,
};
use segment_source_tests::{
    lossy::{Lossy, Which},
    wait::eventually,
};
use tempfile::TempDir;

use crate::server::Server;

/// A moment well after the start of a day.
pub(crate) const START: Millis = 1_800_000_000_000;
/// Of the first generation of claims in Redis: `FIRST_BITS` in `accept.lua`.
const BUCKETS: u32 = 1 << 10;
pub(crate) const TICK: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const WINDOW: Duration = DAY;

/// A store, its clock, and what it takes to open it again.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    now: Arc<AtomicU64>,
    at: At,
}

/// Where the store is.
pub(crate) enum At {
    Folder(TempDir),
    /// Under a name of its own.
    Redis(Arc<Server>, String),
}

impl Fixture {
    /// On the engine that the suite runs against: `STORE`, see [`Server`]; nothing: the embedded one.
    pub(crate) async fn new() -> Self {
        match Server::wanted().await {
            None => Self::embedded().await,
            Some(server) => Self::on(server).await,
        }
    }

    /// On a Redis behind a way on which these answers may get lost; `None`: the suite runs against the
    /// embedded store.
    pub(crate) async fn lossy(which: Which) -> Option<(Self, Lossy)> {
        let (server, lossy) = Server::lossy(which).await?;
        Some((Self::on(server).await, lossy))
    }

    async fn on(server: Arc<Server>) -> Self {
        let mut name = String::from("test-");
        receipt().0.iter().for_each(|byte| name += &format!("{byte:02x}"));
        Self::open(Arc::new(AtomicU64::new(START)), At::Redis(server, name + ":")).await
    }

    pub(crate) async fn embedded() -> Self {
        Self::open(Arc::new(AtomicU64::new(START)), At::Folder(tempfile::tempdir().unwrap())).await
    }

    async fn open(now: Arc<AtomicU64>, at: At) -> Self {
        let store = match &at {
            At::Folder(dir) => {
                embedded::Store::open(dir.path(), options(), clock(&now)).unwrap().into()
            }
            At::Redis(server, name) => {
                let (name, replica) = (name.clone(), "here".to_owned());
                let options =
                    redis::Options { name, replica, health: None, clock: Some(clock(&now)) };
                redis::Store::open(&server.target(), options).await.unwrap().into()
            }
        };
        Self { store, now, at }
    }

    /// Closes the store in good order and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        self.store.close().await;
        self.crash().await
    }

    /// Opens the store again as after a crash: what was only in memory is gone.
    pub(crate) async fn crash(self) -> Self {
        let Self { store, now, at } = self;
        drop(store);
        Self::open(now, at).await
    }

    /// As [`Fixture::crash`], for the embedded store.
    pub(crate) fn open_again(self, options: Options) -> Self {
        let Self { store, now, at } = self;
        let At::Folder(dir) = at else { panic!("it is not in a folder") };
        drop(store);
        let store = embedded::Store::open(dir.path(), options, clock(&now)).unwrap().into();
        Self { store, now, at: At::Folder(dir) }
    }

    pub(crate) fn dir(&self) -> &Path {
        let At::Folder(dir) = &self.at else { panic!("it is not in a folder") };
        dir.path()
    }

    /// The same store as another process has it; `None`: there is no such thing.
    pub(crate) async fn beside(&self, replica: &str) -> Option<Store> {
        let At::Redis(server, name) = &self.at else { return None };
        let (name, replica) = (name.clone(), replica.to_owned());
        let clock = Some(self.clock());
        let options = redis::Options { name, replica, health: None, clock };
        Some(redis::Store::open(&server.target(), options).await.unwrap().into())
    }

    /// As if another process had become the owner of the source's partition, which this one does not know
    /// yet; `false`: there is no such thing.
    pub(crate) async fn give_to_another(&self, source: &SourceId) -> bool {
        let At::Redis(server, name) = &self.at else { return false };
        let key = prefix(name, source) + "own";
        let mut connection = redis::connect::Connection::open(&server.target()).await.unwrap();
        let mut set = ::redis::cmd("SET");
        set.arg(&key).arg("another").arg("PX").arg(60_000);
        let mut give_back = ::redis::cmd("DEL");
        give_back.arg(&key);
        for _ in 0..10 {
            let _: () = set.query_async(&mut connection).await.unwrap();
            if self.store.owns(source) {
                return true;
            }
            // Its beat came between the two, so it knows: once more.
            let _: () = give_back.query_async(&mut connection).await.unwrap();
            eventually("it owns it again", async || self.store.owns(source).then_some(())).await;
        }
        panic!("it knows each time that the partition is another's")
    }

    /// How many keys the source's partition remembers, over or not, as long as there are few; `None`: it
    /// cannot be told.
    pub(crate) async fn claims(&self, source: &SourceId) -> Option<usize> {
        let At::Redis(server, name) = &self.at else { return None };
        let mut connection = redis::connect::Connection::open(&server.target()).await.unwrap();
        let mut sizes = ::redis::pipe();
        for bucket in 0..BUCKETS {
            sizes.cmd("HLEN").arg(format!("{}d:1:{bucket}", prefix(name, source)));
        }
        let sizes: Vec<usize> = sizes.query_async(&mut connection).await.unwrap();
        Some(sizes.into_iter().sum())
    }

    pub(crate) fn clock(&self) -> Clock {
        clock(&self.now)
    }

    pub(crate) fn now(&self) -> Millis {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn set_clock(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.set_clock(self.now() + millis(time));
    }

    /// Accepts one event.
    pub(crate) async fn accept(&self, event: NewEvent) -> Accepted {
        self.store.accept(vec![event]).await.unwrap()[0]
    }

    /// Accepts an event of a user and plans `actions` of them for it.
    pub(crate) async fn planned(&self, user: &str, actions: usize) -> EventId {
        let id = new(self.accept(event().of_user(user)).await);
        let planned = plan(id, (0..actions).map(|n| action(&format!("m{n}"))).collect());
        self.store.plan(&source(), vec![planned]).await.unwrap();
        id
    }

    /// The events that wait for a plan; there must be no repeats among them.
    pub(crate) async fn unplanned(&self, limit: usize) -> Vec<(EventId, Event)> {
        let waiting = self.store.unplanned(&source(), limit).await.unwrap();
        let event = |waiting| match waiting {
            Unplanned::Event(id, event) => (id, event),
            Unplanned::Repeat { entry, .. } => panic!("{entry} is a repeat"),
        };
        waiting.into_iter().map(event).collect()
    }

    pub(crate) async fn take(&self, max: usize) -> Vec<Leased> {
        self.store.take(&queue(), max, LEASE).await.unwrap().leases
    }

    /// Takes one action that must be there.
    pub(crate) async fn take_one(&self) -> Leased {
        let mut leases = self.take(1).await;
        assert_eq!(leases.len(), 1, "nothing is ready");
        leases.remove(0)
    }

    pub(crate) async fn settle(&self, lease: &Leased, settlement: Settlement) -> Settled {
        self.store.settle(vec![(lease.token, settlement)]).await.unwrap()[0]
    }

    pub(crate) async fn entry(&self, id: EventId) -> LogEntry {
        self.store.event(id).await.unwrap().unwrap()
    }

    /// State, attempts and reason's code of an action.
    pub(crate) async fn status(&self, id: ActionId) -> (ActionState, u32, Option<String>) {
        let entry = self.entry(id.event).await;
        let status = entry.actions.into_iter().find(|status| status.id == id).unwrap();
        (status.state, status.attempts, status.reason.map(|reason| reason.code))
    }
}

fn options() -> Options {
    // Tests may run on a disk with little room.
    Options { reserve: 0, ..Options::default() }
}

fn clock(now: &Arc<AtomicU64>) -> Clock {
    let now = now.clone();
    Arc::new(move || now.load(Ordering::SeqCst))
}

/// What the keys of the source's partition begin with.
fn prefix(name: &str, source: &SourceId) -> String {
    format!("{name}{{p{:02}}}:", u64::from_be_bytes(source.hash().0) % 16)
}

pub(crate) fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap()
}

pub(crate) fn source() -> SourceId {
    "prod/web".parse().unwrap()
}

pub(crate) fn other_source() -> SourceId {
    "prod/shop".parse().unwrap()
}

pub(crate) fn queue() -> Queue {
    DestinationId { source: source(), name: "default".into() }
}

/// A track event without key, with a receipt of its own.
pub(crate) fn event() -> NewEvent {
    NewEvent {
        source: source(),
        receipt: receipt(),
        window: Some(WINDOW),
        event: Event {
            event_type: Some("track/a".into()),
            key: None,
            order_key: None,
            timestamp: Some("2027-01-15T08:00:00Z".into()),
            unmappable: None,
            verification: Verification { verdict: Verdict::VerifiedBody, covered: true },
            element: 0,
            headers: vec![("content-type".into(), "application/json".into())],
            body: r#"{"type":"track"}"#.into(),
        },
    }
}

/// A receipt nothing else has.
pub(crate) fn receipt() -> Receipt {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    Receipt(bytes)
}

pub(crate) trait NewEventExt: Sized {
    fn change(self, change: impl FnOnce(&mut NewEvent)) -> NewEvent;

    fn keyed(self, key: &str) -> NewEvent {
        self.change(|new| new.event.key = Some(key.into()))
    }

    fn of_user(self, user: &str) -> NewEvent {
        self.change(|new| new.event.order_key = Some(format!("user:{user}")))
    }

    fn of_type(self, event_type: &str) -> NewEvent {
        self.change(|new| new.event.event_type = Some(event_type.into()))
    }

    fn of_source(self, source: SourceId) -> NewEvent {
        self.change(|new| new.source = source)
    }

    fn window(self, window: Duration) -> NewEvent {
        self.change(|new| new.window = Some(window))
    }

    fn unmappable(self) -> NewEvent {
        self.change(|new| {
            new.event.event_type = None;
            new.event.unmappable = Some("it is not JSON".into());
        })
    }
}

impl NewEventExt for NewEvent {
    fn change(mut self, change: impl FnOnce(&mut NewEvent)) -> NewEvent {
        change(&mut self);
        self
    }
}

pub(crate) fn plan(event: EventId, actions: Vec<NewAction>) -> PlannedEvent {
    PlannedEvent { event, generation: 7, notes: vec![("m".into(), "why not".into())], actions }
}

/// An action for the default queue.
pub(crate) fn action(mapping: &str) -> NewAction {
    NewAction {
        mapping: mapping.into(),
        action_type: "users_identify",
        destination: "default".into(),
        rendered: Ok(format!(r#"{{"by":"{mapping}"}}"#).into()),
    }
}

pub(crate) fn reason(code: &str) -> Reason {
    Reason { code: code.into(), message: "as the test wants it".into() }
}

pub(crate) fn retry(delay: Duration) -> Settlement {
    Settlement::Retry { delay, reason: reason("later") }
}

pub(crate) fn ack() -> Settlement {
    Settlement::Ack { answer: String::new() }
}

pub(crate) fn reject() -> Settlement {
    Settlement::Reject { reason: reason("never") }
}

/// The id of an event that must be new.
pub(crate) fn new(accepted: Accepted) -> EventId {
    match accepted {
        Accepted::New(id) => id,
        Accepted::Duplicate { .. } => panic!("{accepted:?} is not new"),
    }
}

/// The original of an event that must be a duplicate.
pub(crate) fn original(accepted: Accepted) -> EventId {
    match accepted {
        Accepted::Duplicate { original, .. } => original,
        Accepted::New(_) => panic!("{accepted:?} is no duplicate"),
    }
}
