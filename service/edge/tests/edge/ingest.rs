//! A real gRPC server of the ingest contract that keeps what it gets in memory, and can be told to
//! fail in the ways a real one does.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use segment_source_proto::ingest::v1::{
    Submission, SubmitFailure, SubmitRequest, SubmitResponse, SubmitResult, SubmitStreamRequest,
    SubmitStreamResponse,
    ingest_server::{Ingest, IngestServer},
    submit_failure::Reason,
    submit_result::Outcome,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

/// What happens to one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// It is stored and answered.
    Store,
    /// It is refused.
    Fail(Reason),
    /// The source of this name is not known; what is of others is stored.
    UnknownSource(&'static str),
    /// It is stored, and the stream breaks before the answer.
    StoreThenBreak,
    /// It is neither stored nor answered.
    Ignore,
    /// It is stored, and answered with a result too few.
    AnswerTooLittle,
}

/// What is stored; several servers may share it, as ingests do.
#[derive(Default)]
struct Stored {
    submissions: Vec<Submission>,
    duplicates: usize,
    /// What each receipt got.
    receipts: HashMap<Vec<u8>, Outcome>,
    /// How often a receipt came again.
    again: usize,
}

/// The server's memory.
#[derive(Default)]
struct Memory {
    /// For the next batches; then everything is stored.
    script: VecDeque<Behaviour>,
    stored: Arc<Mutex<Stored>>,
    batches: Vec<usize>,
    streams: usize,
}

/// Handle to the server.
pub(crate) struct FakeStore {
    pub(crate) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    held: Arc<watch::Sender<bool>>,
    seen: Arc<watch::Sender<usize>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Service {
    memory: Arc<Mutex<Memory>>,
    held: Arc<watch::Sender<bool>>,
    seen: Arc<watch::Sender<usize>>,
}

impl FakeStore {
    pub(crate) async fn start() -> Self {
        Self::over(Arc::default()).await
    }

    /// Another server that shares what is stored.
    pub(crate) async fn beside(&self) -> Self {
        let stored = Arc::clone(&self.memory.lock().unwrap().stored);
        Self::over(stored).await
    }

    async fn over(stored: Arc<Mutex<Stored>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Mutex::new(Memory { stored, ..Memory::default() }));
        let held = Arc::new(watch::Sender::new(false));
        let seen = Arc::new(watch::Sender::new(0));
        let service = Service {
            memory: Arc::clone(&memory),
            held: Arc::clone(&held),
            seen: Arc::clone(&seen),
        };
        let service = IngestServer::new(service).max_decoding_message_size(32 << 20);
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, memory, held, seen, _server: AbortOnDropHandle::new(server) }
    }

    /// For the next batches.
    pub(crate) fn script(&self, behaviours: &[Behaviour]) {
        self.memory.lock().unwrap().script.extend(behaviours);
    }

    /// Batches that arrive are not looked at until they are released.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    /// Waits until so many batches have arrived, held or not.
    pub(crate) async fn has_seen(&self, batches: usize) {
        self.seen.subscribe().wait_for(|seen| *seen >= batches).await.unwrap();
    }

    /// How many batches have arrived, held or not.
    pub(crate) fn seen(&self) -> usize {
        *self.seen.borrow()
    }

    fn with_stored<T>(&self, read: impl FnOnce(&Stored) -> T) -> T {
        read(&self.memory.lock().unwrap().stored.lock().unwrap())
    }

    pub(crate) fn stored(&self) -> Vec<Submission> {
        self.with_stored(|stored| stored.submissions.clone())
    }

    /// The bodies of what was stored, in order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        self.with_stored(|stored| stored.submissions.iter().map(|s| text(&s.body)).collect())
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.with_stored(|stored| stored.duplicates)
    }

    /// How often a receipt came again, at any of the servers.
    pub(crate) fn again(&self) -> usize {
        self.with_stored(|stored| stored.again)
    }

    /// Events in each batch that was looked at.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.memory.lock().unwrap().batches.clone()
    }

    pub(crate) fn streams(&self) -> usize {
        self.memory.lock().unwrap().streams
    }
}

impl Stored {
    fn store(&mut self, submission: &Submission) -> Outcome {
        if let Some(outcome) = self.receipts.get(&submission.receipt[..]) {
            self.again += 1;
            return *outcome;
        }
        // Equal bodies stand for equal idempotency keys.
        let outcome = match self.submissions.iter().any(|known| known.body == submission.body) {
            true => {
                self.duplicates += 1;
                Outcome::Duplicate
            }
            false => {
                self.submissions.push(submission.clone());
                Outcome::Accepted
            }
        };
        self.receipts.insert(submission.receipt.to_vec(), outcome);
        outcome
    }
}

impl Memory {
    fn store(&mut self, submission: &Submission) -> Outcome {
        self.stored.lock().unwrap().store(submission)
    }

    /// The answer to a batch; `None` to break the stream, an empty one to stay silent.
    fn handle(&mut self, batch: &SubmitStreamRequest) -> Option<Option<SubmitStreamResponse>> {
        let behaviour = self.script.pop_front().unwrap_or(Behaviour::Store);
        let outcomes: Vec<Outcome> = match behaviour {
            Behaviour::Ignore => return Some(None),
            Behaviour::Fail(reason) => {
                let message = "as the test wants it".to_owned();
                let failure = Some(SubmitFailure { reason: reason.into(), message });
                let sequence = batch.sequence;
                return Some(Some(SubmitStreamResponse { sequence, results: vec![], failure }));
            }
            Behaviour::UnknownSource(name) => {
                let outcome = |submission: &Submission| match submission.name == name {
                    true => Outcome::UnknownSource,
                    false => self.store(submission),
                };
                batch.submissions.iter().map(outcome).collect()
            }
            Behaviour::Store | Behaviour::StoreThenBreak | Behaviour::AnswerTooLittle => {
                self.batches.push(batch.submissions.len());
                batch.submissions.iter().map(|submission| self.store(submission)).collect()
            }
        };
        if matches!(behaviour, Behaviour::StoreThenBreak) {
            return None;
        }
        let result =
            |outcome: Outcome| SubmitResult { outcome: outcome.into(), event_id: String::new() };
        let mut results: Vec<SubmitResult> = outcomes.into_iter().map(result).collect();
        if matches!(behaviour, Behaviour::AnswerTooLittle) {
            results.pop();
        }
        Some(Some(SubmitStreamResponse { sequence: batch.sequence, results, failure: None }))
    }
}

#[tonic::async_trait]
impl Ingest for Service {
    /// The edge only uses the stream.
    async fn submit(&self, _: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        Err(Status::unimplemented("the edge submits by the stream"))
    }

    type SubmitStreamStream =
        Pin<Box<dyn Stream<Item = Result<SubmitStreamResponse, Status>> + Send>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        self.memory.lock().unwrap().streams += 1;
        let service = self.clone();
        let answers = request.into_inner().then(move |batch| {
            let service = service.clone();
            async move {
                let batch = batch?;
                service.seen.send_modify(|seen| *seen += 1);
                service.held.subscribe().wait_for(|held| !held).await.unwrap();
                service
                    .memory
                    .lock()
                    .unwrap()
                    .handle(&batch)
                    .ok_or_else(|| Status::unavailable("broken by the test"))
            }
        });
        let answers = answers.filter_map(Result::transpose);
        Ok(Response::new(Box::pin(answers)))
    }
}
