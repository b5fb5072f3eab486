//! `segmentsource.directory.v1.Directory`: reading a source's directory over gRPC.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use segment_source_core::source::SourceId;
use segment_source_proto::directory::v1::{
    GetRequest, GetResponse, ListRequest, ListResponse, SourceName, WatchRequest, WatchResponse,
    directory_server::{Directory, DirectoryServer},
};
use segment_source_rpc::{Caller, Permit, Right, caller};
use segment_source_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    list::list,
    present::{Known, entities, key},
    problem,
    watch::watch as open_watch,
    write::bytes,
};
use crate::Destinations;

/// The gRPC service.
#[derive(Clone)]
pub struct DirectoryService {
    pub(super) store: Store,
    destinations: watch::Receiver<Arc<Destinations>>,
    pub(super) shutdown: CancellationToken,
}

impl DirectoryService {
    /// Serves the directories of the sources that `destinations` names, until `shutdown`: then
    /// open watches end with UNAVAILABLE.
    #[must_use]
    pub fn new(
        store: Store,
        destinations: watch::Receiver<Arc<Destinations>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, destinations, shutdown }
    }

    /// The service as tonic serves it.
    #[must_use]
    pub fn into_server(self) -> DirectoryServer<Self> {
        DirectoryServer::new(self)
    }

    /// The source that a request names, for a caller that may read it.
    fn resolve(
        &self,
        caller: &Caller,
        name: Option<SourceName>,
    ) -> Result<(SourceId, Permit), Status> {
        let name = name.ok_or_else(|| problem::invalid("source", "name the source to read"))?;
        let source = SourceId::new(&name.namespace, &name.name)
            .map_err(|error| problem::invalid("source", error.to_string()))?;
        let permit = Permit::on(caller, Right::Read, source.clone())?;
        match self.destinations.borrow().has_source(&source) {
            true => Ok((source, permit)),
            false => Err(problem::unknown_source(&source)),
        }
    }
}

#[tonic::async_trait]
impl Directory for DirectoryService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let caller = caller(&request)?.clone();
        let GetRequest { source, key: name } = request.into_inner();
        let (source, _) = self.resolve(&caller, source)?;
        let key = key(name.ok_or_else(|| problem::invalid("key", "name the entry to read"))?)?;
        let found = self.store.directory(&source, vec![bytes(&key)]).await;
        let found = found.map_err(|error| problem::store(&error))?.into_iter().flatten().next();
        let known = found.map(|found| Known::read(key, &found)).transpose()?;
        let known = known.filter(|known| known.record.exists());
        let known = known.ok_or_else(|| problem::unknown_entry(&source))?;
        let entity = entities(&self.store, &source, vec![known]).await?.pop();
        Ok(Response::new(GetResponse { entity }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let (source, _) = self.resolve(&caller, request.source.clone())?;
        list(&self.store, &source, request).await.map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner();
        let (source, permit) = self.resolve(&caller, request.source.clone())?;
        let stream = open_watch(self.clone(), source, permit, request).await?;
        Ok(Response::new(Box::pin(stream)))
    }
}
