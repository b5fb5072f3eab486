//! An operator that says what a test wants, over a real socket.

use std::{net::SocketAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use segment_source_proto::config::v1::{
    NotLoaded, Opened, Removed, Source, SourceName, SourceState, Synced, WatchRequest,
    WatchResponse,
    config_server::{Config, ConfigServer},
    source_state,
    watch_request::Request as Asked,
    watch_response::Response as Told,
};
use segment_source_runtime::tls::{Identities, Identity, Peer, Role, Security, incoming};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn name(name: &str) -> SourceName {
    SourceName { namespace: "prod".to_owned(), name: name.to_owned() }
}

fn told(response: Told) -> WatchResponse {
    WatchResponse { response: Some(response) }
}

pub(crate) fn opened(epoch: u64, names: &[&str]) -> WatchResponse {
    let sources = names.iter().map(|it| name(it)).collect();
    told(Told::Opened(Opened { epoch, sources, ..Opened::default() }))
}

pub(crate) fn loaded(version: u64, source: Source) -> WatchResponse {
    let name = name(&source.name);
    let state = Some(source_state::State::Loaded(source));
    told(Told::State(SourceState { version, source: Some(name), state }))
}

pub(crate) fn not_loaded(version: u64, source: &str, reason: &str) -> WatchResponse {
    let state = Some(source_state::State::NotLoaded(NotLoaded { reason: reason.to_owned() }));
    told(Told::State(SourceState { version, source: Some(name(source)), state }))
}

pub(crate) fn removed(version: u64, source: &str) -> WatchResponse {
    told(Told::Removed(Removed { version, source: Some(name(source)) }))
}

pub(crate) fn synced(version: u64) -> WatchResponse {
    told(Told::Synced(Synced { version }))
}

/// A replica of the operator.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    _serving: AbortOnDropHandle<()>,
}

/// A stream that a client opened.
pub(crate) struct Stream {
    pub(crate) peer: Peer,
    requests: Streaming<WatchRequest>,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// Hands the streams to the test; without one it does not lead.
struct Scripted(Option<mpsc::Sender<Stream>>);

#[tonic::async_trait]
impl Config for Scripted {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Some(streams) = &self.0 else { return Err(Status::unavailable("NOT_LEADING")) };
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        let (responses, told) = mpsc::channel(64);
        let stream = Stream { peer, requests: request.into_inner(), responses };
        streams.send(stream).await.map_err(|_| Status::unavailable("the test has ended"))?;
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

impl Server {
    /// The leader.
    pub(crate) async fn leading(security: Security) -> Self {
        let (streams, opened) = mpsc::channel(8);
        Self::serve(Scripted(Some(streams)), opened, security).await
    }

    /// One that answers UNAVAILABLE.
    pub(crate) async fn not_leading() -> Self {
        Self::serve(Scripted(None), mpsc::channel(1).1, Security::Plaintext).await
    }

    async fn serve(config: Scripted, streams: mpsc::Receiver<Stream>, security: Security) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = transport::Server::builder()
            .add_service(ConfigServer::new(config))
            .serve_with_incoming(incoming(listener, security));
        let serving = tokio::spawn(async { serving.await.unwrap() });
        Self { address, streams, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The next stream a client opens.
    pub(crate) async fn stream(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv()).await.expect("a client comes").unwrap()
    }
}

impl Stream {
    /// Says these, in this order.
    pub(crate) async fn tell(&self, responses: impl IntoIterator<Item = WatchResponse>) {
        for response in responses {
            self.responses.send(Ok(response)).await.expect("the client is there");
        }
    }

    /// What the client says next.
    pub(crate) async fn heard(&mut self) -> Asked {
        let message = timeout(PATIENCE, self.requests.message()).await.expect("the client speaks");
        message.unwrap().expect("the client is there").request.unwrap()
    }

    /// Waits until the client has left.
    pub(crate) async fn left(mut self) {
        let left = async { while let Ok(Some(_)) = self.requests.message().await {} };
        timeout(PATIENCE, left).await.expect("the client leaves");
    }
}

/// Issues certificates for a test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An identity with one role.
    pub(crate) fn identity(&self, role: Role) -> Identities {
        let mut params = CertificateParams::new(vec![role.server_name()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let (certificate, ca) = (params.signed_by(&key, &self.0).unwrap().pem(), self.0.pem());
        let key = key.serialize_pem();
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes());
        watch::channel(std::sync::Arc::new(identity.unwrap())).1
    }
}
