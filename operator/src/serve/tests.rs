//! Over real sockets.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use segment_source_proto::config::v1::{
    Ack, Hello, Source, WatchRequest, WatchResponse, config_client::ConfigClient, source_state,
    watch_request::Request, watch_response::Response,
};
use segment_source_runtime::tls::{Peer, Role, Security, incoming};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{ConfigService, may_have};
use crate::{
    dirty::Dirty,
    lease::{Leadership, Office},
    name::Name,
    table::{Held, Progress, Roles, Table},
};

const LONG: Duration = Duration::from_secs(60);
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    table: Arc<Table>,
    office: Office,
    leadership: Leadership,
    draining: CancellationToken,
    url: String,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Rig {
    async fn new() -> Self {
        let table = Arc::new(Table::new(Arc::new(Dirty::default())));
        let (office, leadership) = Office::new();
        let draining = CancellationToken::new();
        let nacks = Counter::default();
        let service =
            ConfigService::new(table.clone(), leadership.clone(), nacks, draining.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(service.serve(incoming(listener, Security::Plaintext)));
        Self { table, office, leadership, draining, url, serving }
    }

    /// Leads, knows all names.
    async fn ready() -> Self {
        let rig = Self::new().await;
        rig.office.hold(7, Instant::now() + LONG);
        rig.table.exists(&web(), "u");
        rig.table.all_listed();
        rig.publish(1);
        rig
    }

    fn publish(&self, generation: i64) {
        let source = Source { name: "web".into(), generation, ..Source::default() };
        self.table.publish(&web(), "u", &Held::Loaded(Box::new(source)));
    }

    async fn watch(&self, hello: Hello) -> Result<Client, Status> {
        let mut client = ConfigClient::connect(self.url.clone()).await.unwrap();
        let (requests, receiver) = mpsc::channel(8);
        requests.send(request(Request::Hello(hello))).await.unwrap();
        let responses = client.watch(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Client { requests, responses })
    }

    async fn refusal(&self, hello: Hello) -> (Code, String) {
        refused(&self.watch(hello).await.err().unwrap())
    }
}

struct Client {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Client {
    async fn next(&mut self) -> String {
        let message = timeout(PATIENCE, self.responses.message()).await;
        match message.expect("a response comes") {
            Ok(Some(response)) => match response.response.unwrap() {
                Response::Opened(opened) => format!("opened {}", opened.epoch),
                Response::State(state) => match state.state.unwrap() {
                    source_state::State::Loaded(it) => format!("{} g{}", it.name, it.generation),
                    source_state::State::NotLoaded(it) => it.reason,
                },
                Response::Removed(_) => "removed".to_owned(),
                Response::Synced(_) => "synced".to_owned(),
            },
            Ok(None) => "end".to_owned(),
            Err(status) => refused(&status).1,
        }
    }

    async fn opened(&mut self) {
        for expected in ["opened 7", "web g1", "synced"] {
            assert_eq!(self.next().await, expected);
        }
    }
}

fn refused(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

fn request(request: Request) -> WatchRequest {
    WatchRequest { request: Some(request) }
}

/// What happens without anyone being told.
async fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it did not come true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn web() -> Name {
    Name::new("prod", "web")
}

fn hello() -> Hello {
    Hello { roles: vec![1], replica: "edge-0".into(), schema_level: 2 }
}

#[tokio::test]
async fn a_replica_is_told_what_there_is_and_what_changes_and_its_answers_count() {
    let rig = Rig::ready().await;
    let mut client = rig.watch(hello()).await.unwrap();
    client.opened().await;
    client.requests.send(request(Request::Ack(Ack { version: 1 }))).await.unwrap();
    rig.publish(2);
    assert_eq!(client.next().await, "web g2");
    assert_eq!(rig.table.progress(&web(), 2), Progress::Pending);
    client.requests.send(request(Request::Ack(Ack { version: 2 }))).await.unwrap();
    until(|| rig.table.progress(&web(), 2) == Progress::Programmed).await;
    assert_eq!(rig.table.numbers().replicas, [("edge", 1)].into());
    drop(client);
    until(|| rig.table.numbers().replicas.is_empty()).await;
}

#[tokio::test]
async fn only_a_leader_that_knows_all_names_serves() {
    let rig = Rig::new().await;
    let refusal = |reason: &str| (Code::Unavailable, reason.to_owned());
    assert_eq!(rig.refusal(hello()).await, refusal("NOT_LEADING"));
    rig.office.hold(7, Instant::now() + LONG);
    assert_eq!(rig.refusal(hello()).await, refusal("NOT_READY"));
    rig.table.all_listed();
    let mut client = rig.watch(hello()).await.unwrap();
    assert_eq!((client.next().await, client.next().await), ("opened 7".into(), "synced".into()));
    // The term ends, and with it every stream; nothing is sent after that.
    rig.office.hold(7, Instant::now());
    rig.table.exists(&web(), "u");
    rig.publish(1);
    assert_eq!(client.next().await, "NOT_LEADING");
    assert_eq!(rig.leadership.epoch(), None);
}

#[tokio::test]
async fn a_leader_that_left_ends_its_streams() {
    let rig = Rig::ready().await;
    let mut client = rig.watch(hello()).await.unwrap();
    client.opened().await;
    rig.office.leave("test");
    assert_eq!(client.next().await, "NOT_LEADING");
}

#[tokio::test]
async fn a_process_that_ends_says_so_and_ends() {
    let rig = Rig::ready().await;
    let mut client = rig.watch(hello()).await.unwrap();
    client.opened().await;
    rig.draining.cancel();
    assert_eq!(client.next().await, "DRAINING");
    drop(client);
    rig.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replica_must_keep_to_the_protocol() {
    let rig = Rig::ready().await;
    let invalid = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned());
    for hello in [
        Hello { roles: vec![], ..hello() },
        Hello { roles: vec![0], ..hello() },
        Hello { roles: vec![1, 9], ..hello() },
        Hello { replica: String::new(), ..hello() },
        Hello { replica: "x".repeat(254), ..hello() },
    ] {
        assert_eq!(rig.refusal(hello).await, invalid);
    }
    let mut client = rig.watch(hello()).await.unwrap();
    client.opened().await;
    client.requests.send(request(Request::Hello(hello()))).await.unwrap();
    assert_eq!(client.next().await, "INVALID_ARGUMENT");
}

#[test]
fn a_certificate_gives_its_own_roles_only() {
    let peer = |roles: &[Role], encrypted| Peer {
        roles: roles.iter().copied().collect(),
        encrypted,
        ..Peer::default()
    };
    let check = |peer: Peer, edge, ingest| may_have(&peer, Roles { edge, ingest }).is_ok();
    assert!(check(peer(&[Role::Edge], true), true, false));
    assert!(!check(peer(&[Role::Edge], true), false, true));
    assert!(!check(peer(&[Role::Edge], true), true, true));
    assert!(check(peer(&[Role::Edge, Role::Ingest], true), true, true));
    assert!(!check(peer(&[Role::Operator], true), true, false));
    assert!(!check(peer(&[], true), false, true));
    assert!(check(peer(&[], false), true, true));
}
