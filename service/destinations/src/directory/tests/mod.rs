//! Tests of the destination and of the service, on a real store.

mod deliver;
mod race;
mod read;

use std::sync::Arc;

use segment_source_core::{
    event::{ActionId, EventId},
    source::{DestinationId, SourceId},
};
use segment_source_proto::directory::v1::{
    Entity, GetRequest, Key, Kind as WireKind, ListRequest, ListResponse, Recipient, SourceName,
    WatchRequest, WatchResponse, directory_server::Directory as _,
};
use segment_source_rpc::Caller;
use segment_source_store::{
    Action, LeaseToken, Leased, Store,
    embedded::{self, Options},
    system_clock,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::{DirectoryService, deliver_all};
use crate::{Destination, Destinations, Kind, delivery::Outcome};

/// A directory with nothing around it.
struct Rig {
    store: Store,
    service: DirectoryService,
    shutdown: CancellationToken,
    _destinations: watch::Sender<Arc<Destinations>>,
    _folder: TempDir,
}

fn source() -> SourceId {
    SourceId::new("prod", "web").unwrap()
}

fn named() -> Option<SourceName> {
    Some(SourceName { namespace: "prod".into(), name: "web".into() })
}

fn user(id: &str) -> Key {
    Key { kind: WireKind::User.into(), id: id.into(), ..Key::default() }
}

fn object(collection: &str, id: &str) -> Key {
    let (collection, id) = (collection.into(), id.into());
    Key { kind: WireKind::Object.into(), collection, id, ..Key::default() }
}

fn subscription(user: &str) -> Key {
    let recipient = Some(Recipient { id: user.into(), collection: String::new() });
    Key { kind: WireKind::Subscription.into(), recipient, ..object("repos", "r1") }
}

fn member(user: &str) -> Key {
    let (id, audience) = (user.into(), "vip".into());
    Key { kind: WireKind::Member.into(), id, audience, ..Key::default() }
}

/// An action of an event at a second after 2026-11-25T00:00:00Z, accepted an hour later.
fn action(second: u64, action_type: &str, payload: &str) -> Leased {
    let accepted = 1_795_564_800_000 + 3_600_000 + second * 1_000;
    let event = EventId { millis: accepted, sequence: 0, source: source().hash() };
    let (minutes, seconds) = (second / 60, second % 60);
    Leased {
        token: LeaseToken::new(source().hash(), [0; 16]),
        expires: u64::MAX,
        attempt: 1,
        first_attempt: None,
        action: ActionId { event, run: 0, index: 0 },
        record: Action {
            mapping: "people".into(),
            action_type: action_type.into(),
            destination: "directory".into(),
            event_type: "identify".into(),
            event_timestamp: format!("2026-11-25T00:{minutes:02}:{seconds:02}Z"),
            payload: Some(payload.to_owned().into()),
        },
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::default() };
        let store =
            Store::from(embedded::Store::open(folder.path(), options, system_clock()).unwrap());
        let id = DestinationId { source: source(), name: "default".into() };
        let queue = Destination {
            suspended: false,
            delivery: crate::Delivery::default(),
            kind: Kind::Queue,
        };
        let all = [(id, Arc::new(queue))].into_iter().collect();
        let (sender, seen) = watch::channel(Arc::new(Destinations { all }));
        let shutdown = CancellationToken::new();
        let service = DirectoryService::new(store.clone(), seen, shutdown.clone());
        Self { store, service, shutdown, _destinations: sender, _folder: folder }
    }

    async fn deliver(&self, leases: &[Leased]) -> Vec<Outcome> {
        deliver_all(&self.store, &source(), leases).await
    }

    /// Does one action; what is said of it.
    async fn did(&self, second: u64, action_type: &str, payload: &str) -> String {
        match self.deliver(&[action(second, action_type, payload)]).await.remove(0) {
            Outcome::Done { answer } => answer,
            other => panic!("{action_type} of {payload}: {other:?}"),
        }
    }

    async fn get(&self, key: Key) -> Result<Entity, Status> {
        let request = GetRequest { source: named(), key: Some(key) };
        let answer = self.service.get(local(request)).await?;
        Ok(answer.into_inner().entity.expect("an answer has an entity"))
    }

    /// Properties; `None`: there is no such entry.
    async fn properties(&self, key: Key) -> Option<String> {
        match self.get(key).await {
            Ok(entity) => Some(String::from_utf8(entity.properties_json.to_vec()).unwrap()),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        let request = ListRequest { source: named(), ..request };
        Ok(self.service.list(local(request)).await?.into_inner())
    }

    async fn watch(
        &self,
        after_revision: u64,
        kinds: &[WireKind],
    ) -> Result<
        impl futures_util::Stream<Item = Result<WatchResponse, Status>> + Unpin + use<>,
        Status,
    > {
        let kinds = kinds.iter().map(|kind| (*kind).into()).collect();
        let request = WatchRequest { source: named(), after_revision, kinds };
        Ok(self.service.watch(local(request)).await?.into_inner())
    }
}

fn local<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::Local);
    request
}
