//! Tests of the services as their clients see them: gRPC over a real socket, a real store in a
//! folder of its own.

mod access;
mod admin;
mod plan;
mod submit;
mod suspension;

use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use segment_source_core::{
    event::EventId,
    source::{DestinationId, SourceId},
};
use segment_source_proto::{
    admin::v1::{EventSummary, GetEventRequest, GetEventResponse, admin_client::AdminClient},
    config::v1 as config,
    event::v1::Verdict,
    ingest::v1::{
        Submission, SubmitStreamRequest, SubmitStreamResponse, ingest_client::IngestClient,
    },
};
use segment_source_rpc::{Access, Caller, Clients};
use segment_source_store::{
    Leased, Store,
    embedded::{self, Options},
    system_clock,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Streaming,
    service::interceptor::InterceptorLayer,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use crate::{AdminService, IngestService, MAX_MESSAGE, Planner, Source, Sources};

/// An ingest process with everything but the queue.
pub(crate) struct Ingest {
    pub(crate) store: Store,
    pub(crate) sources: watch::Sender<Arc<Sources>>,
    pub(crate) draining: CancellationToken,
    pub(crate) registry: Registry,
    pub(crate) ingest: IngestClient<Channel>,
    pub(crate) admin: AdminClient<Channel>,
    /// Who is known by a token; without one, a call is the edge's or the platform's.
    pub(crate) clients: watch::Sender<Arc<Clients>>,
    planner: Option<(JoinHandle<()>, CancellationToken)>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    _folder: TempDir,
}

impl Ingest {
    /// Serves these sources; nothing is planned before [`Ingest::plan`].
    pub(crate) async fn serve(sources: &[config::Source]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::default() };
        let store =
            Store::from(embedded::Store::open(folder.path(), options, system_clock()).unwrap());
        let (sender, receiver) = watch::channel(snapshot(sources));
        let draining = CancellationToken::new();
        let mut registry = Registry::default();
        let ingest =
            IngestService::new(store.clone(), receiver.clone(), &mut registry, draining.clone());
        let admin = AdminService::new(store.clone(), receiver, draining.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (clients, seen) = watch::channel(Arc::default());
        let access = Access::new(seen, watch::channel(None).1);
        let identify = move |mut request: Request<()>| {
            let caller = match request.metadata().get("authorization") {
                Some(token) => access.caller(token.as_bytes()),
                None => Some(Caller::Local),
            };
            request.extensions_mut().insert(caller.expect("a known token"));
            Ok(request)
        };
        let server = Server::builder()
            .layer(InterceptorLayer::new(identify))
            .add_service(ingest.into_server())
            .add_service(admin.into_server())
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        let server = tokio::spawn(server);
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        Self {
            store,
            sources: sender,
            draining,
            registry,
            ingest: IngestClient::new(channel.clone()),
            admin: AdminClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            clients,
            planner: None,
            server,
            _folder: folder,
        }
    }

    /// Starts the planner.
    pub(crate) fn plan(&mut self) {
        let cancel = CancellationToken::new();
        let planner =
            Planner::new(self.store.clone(), self.sources.subscribe(), &mut self.registry);
        self.planner = Some((tokio::spawn(planner.run(cancel.clone())), cancel));
    }

    pub(crate) fn configure(&self, sources: &[config::Source]) {
        self.sources.send_replace(snapshot(sources));
    }

    /// A new submit stream.
    pub(crate) async fn stream(&self) -> SubmitClient {
        let (sender, receiver) = mpsc::channel(1_024);
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answers = self.ingest.clone().submit_stream(requests).await.unwrap().into_inner();
        SubmitClient { requests: sender, answers, sequence: 0 }
    }

    /// Stores one event by a stream of its own; its id.
    pub(crate) async fn accept(&self, submission: Submission) -> String {
        let mut answer = self.stream().await.submit(vec![submission]).await;
        assert_eq!(answer.failure, None);
        answer.results.remove(0).event_id
    }

    pub(crate) async fn event(&self, id: &str) -> GetEventResponse {
        let request = GetEventRequest { event_id: id.to_owned() };
        self.admin.clone().get_event(request).await.unwrap().into_inner()
    }

    /// The event, once it is planned.
    pub(crate) async fn planned(&self, id: &str) -> GetEventResponse {
        until(async || {
            let event = self.event(id).await;
            event.planned_generation.is_some().then_some(event)
        })
        .await
    }

    /// Leases every action that is ready in a queue of `prod/web`, without waiting.
    pub(crate) async fn take(&self, queue: &str) -> Vec<Leased> {
        let queue = DestinationId { source: source_id("prod/web"), name: queue.into() };
        self.store.take(&queue, 1_000, Duration::from_secs(60)).await.unwrap().leases
    }

    /// Stops everything; a task that panicked fails the test.
    pub(crate) async fn stop(mut self) {
        self.draining.cancel();
        if let Some((planner, cancel)) = self.planner.take() {
            cancel.cancel();
            planner.await.unwrap();
        }
        self.server.abort();
        self.store.close().await;
    }
}

/// The client's side of a submit stream.
pub(crate) struct SubmitClient {
    requests: mpsc::Sender<SubmitStreamRequest>,
    answers: Streaming<SubmitStreamResponse>,
    sequence: u64,
}

impl SubmitClient {
    /// Sends a batch and does not wait; its sequence number.
    pub(crate) async fn send(&mut self, submissions: Vec<Submission>) -> u64 {
        self.sequence += 1;
        let sequence = self.sequence;
        self.requests.send(SubmitStreamRequest { sequence, submissions }).await.unwrap();
        sequence
    }

    /// The next answer, whichever batch it is for; `None`: the stream has ended.
    pub(crate) async fn answer(&mut self) -> Option<SubmitStreamResponse> {
        self.answers.message().await.unwrap()
    }

    /// Sends a batch and waits for its answer.
    pub(crate) async fn submit(&mut self, submissions: Vec<Submission>) -> SubmitStreamResponse {
        let sequence = self.send(submissions).await;
        let answer = self.answer().await.unwrap();
        assert_eq!(answer.sequence, sequence);
        answer
    }

    /// Says that no more batches come.
    pub(crate) fn half_close(self) -> Streaming<SubmitStreamResponse> {
        self.answers
    }
}

pub(crate) fn snapshot(sources: &[config::Source]) -> Arc<Sources> {
    let parsed = sources.iter().map(|source| Source::from_wire(source).unwrap());
    let sources: HashMap<_, _> = parsed.map(|s| (s.id().clone(), Arc::new(s))).collect();
    Arc::new(Sources { sources })
}

pub(crate) fn source_id(text: &str) -> SourceId {
    text.parse().unwrap()
}

pub(crate) fn event_id(text: &str) -> EventId {
    text.parse().unwrap()
}

/// The source `prod/web`: identify makes a users_identify in the queue `default`.
pub(crate) fn web() -> config::Source {
    let path = |path: &str| config::parameter::Source::Path(path.to_owned());
    let fields = [("id", path("body.userId")), ("email", path("body.traits.email"))];
    source("web", vec![mapping("profile", "identify", "users_identify", &fields)])
}

/// A source of the namespace `prod` with a queue `default` and Segment's idempotency.
pub(crate) fn source(name: &str, mappings: Vec<config::Mapping>) -> config::Source {
    let queue = config::destination::Kind::Queue(config::QueueDestination {});
    config::Source {
        namespace: "prod".to_owned(),
        name: name.to_owned(),
        generation: 1,
        schema_level: 1,
        verification: None,
        processing: Some(config::Processing {
            idempotency: Some(config::Idempotency {
                enabled: true,
                key_path: "body.messageId".to_owned(),
                window_ms: 86_400_000,
            }),
            mappings,
            destinations: vec![config::Destination {
                name: "default".to_owned(),
                kind: Some(queue),
            }],
            ..config::Processing::default()
        }),
    }
}

pub(crate) fn mapping(
    name: &str,
    event_type: &str,
    action_type: &str,
    fields: &[(&str, config::parameter::Source)],
) -> config::Mapping {
    config::Mapping {
        name: name.to_owned(),
        event_type: event_type.to_owned(),
        destination: "default".to_owned(),
        action_type: action_type.to_owned(),
        fields: fields
            .iter()
            .map(|(name, source)| config::Field {
                name: (*name).to_owned(),
                parameter: Some(config::Parameter { source: Some(source.clone()) }),
            })
            .collect(),
        ..config::Mapping::default()
    }
}

/// A verified submission to `prod/web`; its receipt is made from `number`.
pub(crate) fn submission(number: u64, body: &str) -> Submission {
    let mut receipt = [7; 16];
    receipt[8..].copy_from_slice(&number.to_be_bytes());
    Submission {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        receipt: Bytes::copy_from_slice(&receipt),
        body: Bytes::copy_from_slice(body.as_bytes()),
        headers: Vec::new(),
        verdict: Verdict::VerifiedBody.into(),
        covered: true,
        element: 0,
    }
}

/// An identify of a user of its own, with message id and receipt made from `number`.
pub(crate) fn identify(number: u64) -> Submission {
    submission(
        number,
        &format!(
            r#"{{"type":"identify","messageId":"m{number}","userId":"u{number}","traits":{{"email":"u{number}@example.com"}}}}"#
        ),
    )
}

/// What a summary says besides id and time.
pub(crate) fn line(event: &EventSummary) -> (String, String, String) {
    let outcome = event.outcome().as_str_name().trim_start_matches("OUTCOME_").to_owned();
    (event.event_type.clone(), event.key.clone(), outcome)
}

/// Asks again until there is an answer; fails the test after a generous time.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
