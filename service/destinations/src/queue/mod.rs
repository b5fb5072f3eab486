//! The queue destination: `segmentsource.queue.v1.Queue`. Consumers compete for the actions of one
//! queue; order, leases and retries are the store's (`segment_source_store`). Here are the
//! protocol, its bounds and its errors. No state is kept but the open streams'.

mod consume;
mod delivery;
mod metrics;
mod problem;
mod pull;
mod settle;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use prometheus_client::registry::Registry;
use segment_source_core::source::{DestinationId, SourceId};
use segment_source_proto::queue::v1::{
    ConsumeRequest, ConsumeResponse, PullRequest, PullResponse, QueueName, SettleRequest,
    SettleResponse,
    queue_server::{Queue, QueueServer},
};
use segment_source_rpc::{Caller, Permit, Right, caller};
use segment_source_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use metrics::Metrics;

use crate::{Destination, Destinations, Kind, destination::DEFAULT_DESTINATION};

/// The gRPC service.
#[derive(Clone)]
pub struct QueueService {
    store: Store,
    destinations: watch::Receiver<Arc<Destinations>>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl QueueService {
    /// Serves the queues of `store` that `destinations` names, until `shutdown`: then open streams and
    /// waiting pulls end with UNAVAILABLE, and their leases end.
    #[must_use]
    pub fn new(
        store: Store,
        destinations: watch::Receiver<Arc<Destinations>>,
        registry: &mut Registry,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, destinations, metrics: Metrics::register(registry), shutdown }
    }

    /// The service as tonic serves it.
    #[must_use]
    pub fn into_server(self) -> QueueServer<Self> {
        QueueServer::new(self)
    }

    /// The configured queue that a request names, for a caller that may consume from its source.
    fn resolve(
        &self,
        caller: &Caller,
        name: Option<QueueName>,
    ) -> Result<(DestinationId, Permit), Status> {
        let name = name.ok_or_else(|| problem::invalid("queue", "name the queue to read"))?;
        let source = SourceId::new(&name.namespace, &name.name)
            .map_err(|error| problem::invalid("queue", error.to_string()))?;
        let permit = Permit::on(caller, Right::Consume, source.clone())?;
        let destination = match name.destination.as_str() {
            "" => DEFAULT_DESTINATION,
            other => other,
        };
        let queue = DestinationId { source, name: destination.into() };
        match self.state(&queue) {
            Some(_) => Ok((queue, permit)),
            None => Err(problem::unknown_queue(&queue)),
        }
    }

    /// `None`: it is no queue.
    fn state(&self, queue: &DestinationId) -> Option<Arc<Destination>> {
        let destinations = self.destinations.borrow();
        destinations.all.get(queue).filter(|it| it.kind == Kind::Queue).cloned()
    }
}

#[tonic::async_trait]
impl Queue for QueueService {
    type ConsumeStream = Pin<Box<dyn Stream<Item = Result<ConsumeResponse, Status>> + Send>>;

    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let caller = caller(&request)?.clone();
        let stream = consume::open(self.clone(), caller, request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<PullResponse>, Status> {
        let caller = caller(&request)?.clone();
        pull::pull(self, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn settle(
        &self,
        request: Request<SettleRequest>,
    ) -> Result<Response<SettleResponse>, Status> {
        let caller = caller(&request)?.clone();
        caller.authorize_somewhere(Right::Consume)?;
        let settlements = request.into_inner().settlements;
        if settlements.is_empty() || settlements.len() > MAX_ACTIONS {
            return Err(problem::invalid("settlements", "give 1 to 1,000 settlements"));
        }
        let results = settle::settle(&self.store, &self.metrics, &caller, settlements).await;
        Ok(Response::new(SettleResponse { results }))
    }
}

/// The most actions or settlements in one call, and the most credits of a stream.
const MAX_ACTIONS: usize = 1_000;

const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_hours(12);

/// A duration of the wire: not negative, and inside the bounds.
fn duration(
    wire: prost_types::Duration,
    bounds: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let value = Duration::try_from(wire).ok().filter(|value| bounds.contains(value));
    value.ok_or_else(|| {
        format!("must be {} to {} seconds", bounds.start().as_secs(), bounds.end().as_secs())
    })
}

/// The lease length of a request; absent means the default.
fn lease(wire: Option<prost_types::Duration>) -> Result<Duration, Status> {
    match wire {
        None => Ok(DEFAULT_LEASE),
        Some(wire) => duration(wire, SHORTEST_LEASE..=LONGEST_LEASE)
            .map_err(|message| problem::invalid("lease", message)),
    }
}

/// Consumer names are shown to people, so they are short.
fn check_consumer(name: &str) -> Result<(), Status> {
    if name.chars().count() <= 128 {
        return Ok(());
    }
    Err(problem::invalid("consumer", "must be at most 128 characters"))
}
