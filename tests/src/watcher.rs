//! A replica that does by hand what the service does by itself: reads the configuration stream, and
//! answers when and how the test wants it to.

use std::net::SocketAddr;

use segment_source_proto::config::v1::{
    Ack, Hello, Nack, Opened, Removed, Role, SourceState, Synced, WatchRequest, WatchResponse,
    config_client::ConfigClient, watch_request::Request, watch_response::Response,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::wait::{eventually, soon};

/// A connected one. Dropping it disconnects.
#[derive(Debug)]
pub struct Watcher {
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    /// What came first.
    pub opened: Opened,
}

impl Watcher {
    /// Connects as a replica of this name with all roles, which understands everything up to
    /// `level`, and waits for `Opened`.
    ///
    /// # Errors
    /// What the operator says against it.
    ///
    /// # Panics
    /// When the operator breaks the protocol.
    pub async fn open(operator: SocketAddr, replica: &str, level: u32) -> Result<Self, Status> {
        let address = format!("http://{operator}");
        let channel = Endpoint::from_shared(address).expect("an address is a URI").connect_lazy();
        Self::over(channel, replica, level).await
    }

    /// The same over a connection that somebody else has made.
    ///
    /// # Errors
    /// What the operator says against it.
    ///
    /// # Panics
    /// When the operator breaks the protocol.
    pub async fn over(channel: Channel, replica: &str, level: u32) -> Result<Self, Status> {
        let mut client = ConfigClient::new(channel);
        let (requests, outgoing) = mpsc::unbounded_channel();
        let hello = Hello {
            roles: vec![Role::Edge.into(), Role::Ingest.into()],
            replica: replica.to_owned(),
            schema_level: level,
        };
        send(&requests, Request::Hello(hello));
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let responses = soon("the stream opens", client.watch(outgoing)).await?.into_inner();
        let mut watcher = Self { requests, responses, opened: Opened::default() };
        match watcher.next().await? {
            Response::Opened(opened) => watcher.opened = opened,
            other => panic!("the first response is {other:?}"),
        }
        Ok(watcher)
    }

    /// The same, as soon as this operator leads and has read everything.
    pub async fn until_open(operator: SocketAddr, replica: &str, level: u32) -> Self {
        eventually("the operator serves", || async {
            match Self::open(operator, replica, level).await {
                Ok(watcher) => Some(watcher),
                Err(status) if status.code() == Code::Unavailable => None,
                Err(status) => panic!("{status}"),
            }
        })
        .await
    }

    /// What comes next.
    ///
    /// # Errors
    /// Why the stream ended.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn next(&mut self) -> Result<Response, Status> {
        let message = soon("a response", self.responses.message()).await?;
        let message = message.ok_or_else(|| Status::ok("the stream ended"))?;
        Ok(message.response.expect("a response says something"))
    }

    /// The states up to `Synced`, answering nothing.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn until_synced(&mut self) -> (Vec<SourceState>, Synced) {
        let mut states = Vec::new();
        loop {
            match self.next().await.expect("the stream goes on") {
                Response::State(state) => states.push(state),
                Response::Synced(synced) => return (states, synced),
                Response::Opened(_) | Response::Removed(_) => {}
            }
        }
    }

    /// The next state of this source.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn state(&mut self, source: &str) -> SourceState {
        loop {
            if let Response::State(state) = self.next().await.expect("the stream goes on")
                && state.source.as_ref().is_some_and(|it| it.name == source)
            {
                return state;
            }
        }
    }

    /// The next removal.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn removed(&mut self) -> Removed {
        loop {
            if let Response::Removed(removed) = self.next().await.expect("the stream goes on") {
                return removed;
            }
        }
    }

    /// Goes on by itself, taking everything into service, until what is returned is dropped.
    #[must_use]
    pub fn take_all(mut self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok(Some(message)) = self.responses.message().await {
                match message.response {
                    Some(Response::State(state)) => self.ack(state.version),
                    Some(Response::Removed(removed)) => self.ack(removed.version),
                    Some(Response::Synced(synced)) => self.ack(synced.version),
                    Some(Response::Opened(_)) | None => {}
                }
            }
        });
        tasks
    }

    /// Says that everything up to this version is in service.
    pub fn ack(&self, version: u64) {
        send(&self.requests, Request::Ack(Ack { version }));
    }

    /// Refuses a state.
    pub fn nack(&self, state: &SourceState, reason: &str) {
        let (version, source) = (state.version, state.source.clone());
        let reason = reason.to_owned();
        send(&self.requests, Request::Nack(Nack { version, source, reason }));
    }
}

fn send(requests: &mpsc::UnboundedSender<WatchRequest>, request: Request) {
    // Whether the stream has ended is seen by reading it.
    _ = requests.send(WatchRequest { request: Some(request) });
}
