//! Answers people's questions about sources and events. [`request`] parses what they ask,
//! [`scan`] and [`tail`] are the two long answers, [`present`] turns log entries into wire types,
//! [`replay`], [`destinations`] and [`erase`] change something.

mod destinations;
mod erase;
mod present;
mod replay;
mod request;
mod scan;
mod tail;

use std::{pin::Pin, sync::Arc};

use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::{
    EraseUserRequest, EraseUserResponse, GetEventRequest, GetEventResponse, HoldRequest,
    HoldResponse, ListDestinationsRequest, ListDestinationsResponse, ListEventsRequest,
    ListEventsResponse, ListSourcesRequest, ListSourcesResponse, RehearseRequest, RehearseResponse,
    ReleaseRequest, ReleaseResponse, ReplayRequest, ReplayResponse, SourceSummary,
    TailEventsRequest, TailEventsResponse,
    admin_server::{Admin, AdminServer},
};
use segment_source_rpc::{Caller, Permit, Right, caller, problem};
use segment_source_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{MAX_MESSAGE, Source, Sources, again::replay::Replay, rehearse, status};

pub(crate) use request::Wanted;

/// The `Admin` service. Cheap to clone.
#[derive(Clone)]
pub struct AdminService {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
    draining: CancellationToken,
}

type Answers<T> = Pin<Box<dyn futures_core::Stream<Item = Result<T, Status>> + Send>>;

impl AdminService {
    /// Once `draining` is cancelled, answers that are streams end with UNAVAILABLE.
    #[must_use]
    pub fn new(
        store: Store,
        sources: watch::Receiver<Arc<Sources>>,
        draining: CancellationToken,
    ) -> Self {
        Self { store, sources, draining }
    }

    /// A source there is now.
    fn configured(&self, id: &SourceId) -> Result<Arc<Source>, Status> {
        let source = self.sources.borrow().sources.get(id).cloned();
        source.ok_or_else(|| status::no_such_source(id))
    }

    /// The same, for a caller that has this right on it.
    fn granted(
        &self,
        caller: &Caller,
        right: Right,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Source>, Status> {
        let id = request::source(namespace, name)?;
        caller.authorize(right, &id)?;
        self.configured(&id)
    }

    /// The service for a tonic server, with room for rehearsing the largest event.
    #[must_use]
    pub fn into_server(self) -> AdminServer<Self> {
        AdminServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    type ListEventsStream = Answers<ListEventsResponse>;
    type TailEventsStream = Answers<TailEventsResponse>;
    type ReplayStream = Answers<ReplayResponse>;
    type EraseUserStream = Answers<EraseUserResponse>;

    async fn replay(
        &self,
        request: Request<ReplayRequest>,
    ) -> Result<Response<Self::ReplayStream>, Status> {
        let caller = caller(&request)?.clone();
        let order = replay::order(request.into_inner())?;
        let source = order.wanted.source().clone();
        let permit = Permit::on(&caller, Right::Operate, source.clone())?;
        let tools = replay::Tools {
            store: self.store.clone(),
            sources: self.sources.clone(),
            permit,
            draining: self.draining.clone(),
        };
        self.configured(&source)?;
        Ok(Response::new(Box::pin(Replay::new(tools, order).answers())))
    }

    async fn list_destinations(
        &self,
        request: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let source = self.granted(&caller, Right::Read, &request.namespace, &request.name)?;
        let destinations = destinations::list(&self.store, &source).await?;
        Ok(Response::new(ListDestinationsResponse { destinations }))
    }

    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<HoldResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let source = self.granted(&caller, Right::Operate, &request.namespace, &request.name)?;
        destinations::hold(&self.store, &source, request).await?;
        Ok(Response::new(HoldResponse {}))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let source = self.granted(&caller, Right::Operate, &request.namespace, &request.name)?;
        let held = destinations::release(&self.store, &source, &request.destination).await?;
        Ok(Response::new(ReleaseResponse { held }))
    }

    async fn erase_user(
        &self,
        request: Request<EraseUserRequest>,
    ) -> Result<Response<Self::EraseUserStream>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let id = request::source(&request.namespace, &request.name)?;
        let permit = Permit::on(&caller, Right::Operate, id.clone())?;
        if request.user_id.is_empty() {
            return Err(problem::invalid("user_id", "name the user whose data is to be erased"));
        }
        let (store, draining) = (self.store.clone(), self.draining.clone());
        let configured = self.sources.borrow().sources.contains_key(&id);
        let erasure =
            erase::Erasure::new(store, permit, id, &request.user_id, configured, draining);
        Ok(Response::new(Box::pin(erasure.answers())))
    }

    async fn list_sources(
        &self,
        request: Request<ListSourcesRequest>,
    ) -> Result<Response<ListSourcesResponse>, Status> {
        let caller = caller(&request)?;
        let sees = |source: &SourceId| {
            let rights = [Right::Read, Right::Operate];
            rights.into_iter().any(|right| caller.authorize(right, source).is_ok())
        };
        if let Caller::Edge = caller {
            caller.authorize_somewhere(Right::Read)?;
        }
        let sources = self.sources.borrow().clone();
        let mut sources: Vec<&Arc<Source>> =
            sources.sources.values().filter(|source| sees(source.id())).collect();
        sources.sort_by_key(|source| source.id());
        let sources = sources.into_iter().map(|source| summary(source)).collect();
        Ok(Response::new(ListSourcesResponse { sources }))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<Self::ListEventsStream>, Status> {
        let caller = caller(&request)?.clone();
        let search = request::Search::parse(request.into_inner())?;
        let permit = Permit::on(&caller, Right::Read, search.range.source.clone())?;
        let configured = self.sources.borrow().sources.contains_key(&search.range.source);
        let (store, draining) = (self.store.clone(), self.draining.clone());
        let scan = scan::Scan::new(store, permit, search, configured, draining);
        Ok(Response::new(Box::pin(scan.answers())))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        let caller = caller(&request)?.clone();
        let id = request::event_id("event_id", &request.into_inner().event_id)?;
        caller.authorize_hash(Right::Read, id.source)?;
        let entry = self.store.event(id).await.map_err(|error| status::store(&error))?;
        let entry = entry.ok_or_else(|| status::no_such_event(&id.to_string()))?;
        // The hash in an id is short; the name is what was granted.
        caller.authorize(Right::Read, &entry.source)?;
        Ok(Response::new(present::event(entry)))
    }

    async fn tail_events(
        &self,
        request: Request<TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let source = request::source(&request.namespace, &request.name)?;
        let permit = Permit::on(&caller, Right::Read, source.clone())?;
        let configured = self.sources.borrow().sources.contains_key(&source);
        let (store, draining) = (self.store.clone(), self.draining.clone());
        let tail = tail::Tail::start(store, permit, source, configured, draining).await?;
        Ok(Response::new(Box::pin(tail.answers())))
    }

    async fn rehearse(
        &self,
        request: Request<RehearseRequest>,
    ) -> Result<Response<RehearseResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let source = self.granted(&caller, Right::Read, &request.namespace, &request.name)?;
        let headers: Vec<(String, String)> =
            request.headers.into_iter().map(|header| (header.name, header.value)).collect();
        let rehearsal =
            tokio::task::spawn_blocking(move || rehearse(&source, request.body, &headers));
        let rehearsed = rehearsal.await;
        rehearsed.map(Response::new).map_err(|_| problem::internal("the rehearsal did not end"))
    }
}

fn summary(source: &Source) -> SourceSummary {
    SourceSummary {
        namespace: source.id.namespace().to_owned(),
        name: source.id.name().to_owned(),
        generation: source.generation,
        mappings: u32::try_from(source.mappings.iter().count()).unwrap_or(u32::MAX),
        destinations: source.destinations().map(str::to_owned).collect(),
        delivery_suspended: source.delivery_suspended,
    }
}
