//! Takes events over gRPC, from the edge and from internal clients, and makes them durable.
//! [`batch`] checks and describes one batch, [`stream`] keeps the batches of one stream in order
//! while several wait for their commit, [`once`] is a batch as a call of its own, [`answer`] says
//! what became of them.

mod answer;
mod batch;
mod once;
mod stream;

use std::{pin::Pin, sync::Arc};

use prometheus_client::registry::Registry;
use segment_source_proto::ingest::v1::{
    SubmitRequest, SubmitResponse, SubmitStreamRequest, SubmitStreamResponse,
    ingest_server::{Ingest, IngestServer},
};
use segment_source_rpc::{Permit, Right, caller};
use segment_source_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{MAX_MESSAGE, Sources, metrics::SubmitMetrics};
use stream::SubmitStream;

/// The `Ingest` service. Cheap to clone.
#[derive(Clone)]
pub struct IngestService {
    context: Arc<Context>,
}

/// What every stream of the service works with.
struct Context {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
    metrics: SubmitMetrics,
    draining: CancellationToken,
}

impl IngestService {
    /// Once `draining` is cancelled, batches under way are finished, later ones are answered
    /// `REASON_DRAINING`, and the streams end.
    #[must_use]
    pub fn new(
        store: Store,
        sources: watch::Receiver<Arc<Sources>>,
        registry: &mut Registry,
        draining: CancellationToken,
    ) -> Self {
        let metrics = SubmitMetrics::register(registry);
        Self { context: Arc::new(Context { store, sources, metrics, draining }) }
    }

    /// The service for a tonic server, with room for the largest event.
    #[must_use]
    pub fn into_server(self) -> IngestServer<Self> {
        IngestServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    type SubmitStreamStream =
        Pin<Box<dyn futures_core::Stream<Item = Result<SubmitStreamResponse, Status>> + Send>>;

    async fn submit_stream(
        &self,
        requests: Request<Streaming<SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let permit = Permit::somewhere(caller(&requests)?, Right::Submit)?;
        let stream = SubmitStream::new(self.context.clone(), permit, requests.into_inner());
        Ok(Response::new(Box::pin(stream.answers())))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitResponse>, Status> {
        let caller = caller(&request)?.clone();
        caller.authorize_somewhere(Right::Submit)?;
        once::submit(&self.context, &caller, request.into_inner()).await.map(Response::new)
    }
}
