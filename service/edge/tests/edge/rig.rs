//! An edge on a socket with its ingest, ready to be posted to.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use prometheus_client::{encoding::text::encode, registry::Registry};
use segment_source_edge::{Edge, LiveSource, Peers, Settings, SourceState, Sources};
use segment_source_proto::config::v1::{
    RequiredHeader, SecretValue, Verification,
    verification::{BatchPolicy, Mode},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{
    client::{Answer, Post, SECRET},
    ingest::FakeStore,
};

pub(crate) const TOKEN: &str = "not-a-real-token";

pub(crate) struct Rig {
    pub(crate) edge: SocketAddr,
    /// The only peer, unless a test changes that.
    pub(crate) ingest: FakeStore,
    pub(crate) peers: watch::Sender<Peers>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<io::Result<()>>,
    sources: watch::Sender<Arc<Sources>>,
    registry: Registry,
}

/// An ingest as a peer of the edge.
pub(crate) fn peer(ingest: &FakeStore) -> (String, Channel) {
    let endpoint = Endpoint::from_shared(format!("http://{}", ingest.address)).unwrap();
    (ingest.address.to_string(), endpoint.tcp_nodelay(true).connect_lazy())
}

/// A source that enforces [`SECRET`] and refuses arrays.
pub(crate) fn enforce() -> Verification {
    Verification {
        mode: Mode::Enforce.into(),
        secrets: vec![secret(SECRET)],
        rotation_grace_ms: 3_600_000,
        batch_policy: BatchPolicy::Reject.into(),
        ..Verification::default()
    }
}

/// The same, taking whole arrays.
pub(crate) fn whole_body() -> Verification {
    Verification { batch_policy: BatchPolicy::WholeBody.into(), ..enforce() }
}

/// The same, taking arrays signed by their first element with `x-token`.
pub(crate) fn first_element() -> Verification {
    let header = RequiredHeader { name: "x-token".to_owned(), value: Some(secret(TOKEN)) };
    Verification {
        batch_policy: BatchPolicy::FirstElement.into(),
        required_header: Some(header),
        ..enforce()
    }
}

pub(crate) fn secret(text: &str) -> SecretValue {
    SecretValue { value: text.to_owned().into() }
}

impl Rig {
    /// An edge that serves nothing yet, its configuration synced.
    pub(crate) async fn start(settings: Settings) -> Self {
        let ingest = FakeStore::start().await;
        let peers = watch::Sender::new(Peers::from([peer(&ingest)]));
        let (sources, receiver) = watch::channel(Arc::default());
        let mut registry = Registry::default();
        let edge = Edge::new(settings, receiver, peers.subscribe(), &mut registry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(edge.serve(listener, shutdown.clone()));
        let rig = Self { edge: address, ingest, peers, shutdown, task, sources, registry };
        rig.change(|sources| sources.synced = true);
        rig
    }

    /// An edge that serves prod/web like this.
    pub(crate) async fn serving(verification: Verification) -> Self {
        Self::with(Settings::default(), verification).await
    }

    pub(crate) async fn with(settings: Settings, verification: Verification) -> Self {
        let rig = Self::start(settings).await;
        rig.configure("prod/web", verification);
        rig
    }

    /// Publishes a changed snapshot.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Sources)) {
        self.sources.send_modify(|sources| change(Arc::make_mut(sources)));
    }

    /// Takes a configuration into service as the program does: with what served before.
    pub(crate) fn configure(&self, id: &str, verification: Verification) {
        let id = id.parse().unwrap();
        self.change(|sources| {
            let previous = match sources.sources.get(&id) {
                Some(SourceState::Live(live)) => Some(Arc::clone(live)),
                _ => None,
            };
            let live =
                LiveSource::from_wire(&id, &verification, previous.as_deref(), Instant::now());
            sources.sources.insert(id.clone(), SourceState::Live(Arc::new(live.unwrap())));
        });
    }

    pub(crate) fn set(&self, id: &str, state: SourceState) {
        self.change(|sources| {
            sources.sources.insert(id.parse().unwrap(), state);
        });
    }

    pub(crate) async fn post(&self, post: Post) -> Answer {
        post.to(self.edge).await
    }

    /// Posts, and expects this status and code.
    pub(crate) async fn check(&self, post: Post, status: u16, code: &str) -> Answer {
        let answer = self.post(post).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        answer
    }

    /// Proves the secret of prod/web, so that failures are final.
    pub(crate) async fn prime(&self) {
        self.check(Post::signed(r#"{"prime":true}"#), 202, "accepted").await;
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }
}
