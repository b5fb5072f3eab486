//! Stand-ins for several ingests over one store: real gRPC servers with health, which keep what they
//! get in memory that they share, by its receipt.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use segment_source_proto::ingest::v1::{
    SubmitFailure, SubmitRequest, SubmitResponse, SubmitResult, SubmitStreamRequest,
    SubmitStreamResponse,
    ingest_server::{Ingest, IngestServer},
    submit_failure::Reason,
    submit_result::Outcome,
};
use tokio::{
    net::{TcpListener, ToSocketAddrs},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use tonic_health::{ServingStatus, server::HealthReporter};

/// A store takes so long to make a batch durable.
const COMMIT: Duration = Duration::from_millis(3);

/// What all of them keep.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Stored>>);

/// What was stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Bodies by their receipts.
    pub events: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How often a receipt came that was known already.
    pub again: usize,
}

impl Shared {
    /// What is stored now.
    #[must_use]
    pub fn now(&self) -> Stored {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no panic while locked")
    }

    /// Another ingest over it, at this address.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn ingest(&self, at: impl ToSocketAddrs) -> StandIn {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (reporter, health) = tonic_health::server::health_reporter();
        let (draining, batches) = (watch::Sender::new(false), Arc::default());
        let service = Service {
            shared: self.clone(),
            draining: draining.subscribe(),
            batches: Arc::clone(&batches),
        };
        let service = IngestServer::new(service).max_decoding_message_size(32 << 20);
        let server = Server::builder().add_service(health).add_service(service);
        let task = tokio::spawn(async move {
            let served = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
            served.expect("it serves");
        });
        StandIn { address, reporter, draining, batches, task }
    }
}

/// One ingest.
#[derive(Debug)]
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    reporter: HealthReporter,
    draining: watch::Sender<bool>,
    batches: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl StandIn {
    /// Refuses batches from now on as one that ends does, and says that it is not ready; or is as
    /// before.
    pub async fn drain(&self, draining: bool) {
        self.draining.send_replace(draining);
        let status = if draining { ServingStatus::NotServing } else { ServingStatus::Serving };
        self.reporter.set_service_status("", status).await;
    }

    /// Batches it has got.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service {
    shared: Shared,
    draining: watch::Receiver<bool>,
    batches: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Ingest for Service {
    type SubmitStreamStream =
        Pin<Box<dyn Stream<Item = Result<SubmitStreamResponse, Status>> + Send>>;

    async fn submit_stream(
        &self,
        requests: Request<Streaming<SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let (shared, draining) = (self.shared.clone(), self.draining.clone());
        let batches = Arc::clone(&self.batches);
        let answers = requests.into_inner().then(move |batch| {
            batches.fetch_add(1, Ordering::Relaxed);
            let (shared, refuses) = (shared.clone(), *draining.borrow());
            async move { Ok(answer(&shared, batch?, refuses).await) }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn submit(&self, _: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        Err(Status::unimplemented("the edge submits by the stream"))
    }
}

async fn answer(
    shared: &Shared,
    batch: SubmitStreamRequest,
    refuses: bool,
) -> SubmitStreamResponse {
    let sequence = batch.sequence;
    if refuses {
        let message = "as the test wants it".to_owned();
        let failure = Some(SubmitFailure { reason: Reason::Draining.into(), message });
        return SubmitStreamResponse { sequence, results: Vec::new(), failure };
    }
    {
        let mut stored = shared.lock();
        for submission in &batch.submissions {
            let body = submission.body.to_vec();
            if stored.events.insert(submission.receipt.to_vec(), body).is_some() {
                stored.again += 1;
            }
        }
    }
    // It is durable, and the answer may still get lost.
    sleep(COMMIT).await;
    let accepted = || SubmitResult { outcome: Outcome::Accepted.into(), event_id: String::new() };
    let results = batch.submissions.iter().map(|_| accepted()).collect();
    SubmitStreamResponse { sequence, results, failure: None }
}
