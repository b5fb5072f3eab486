//! The configuration stream's server: who may have it, and the listener. What one stream does is
//! `stream`'s; what is told comes from the table.

mod problem;
mod stream;
#[cfg(test)]
mod tests;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use prometheus_client::metrics::counter::Counter;
use segment_source_proto::config::v1::{
    WatchRequest, WatchResponse,
    config_server::{Config, ConfigServer},
    watch_request,
};
use segment_source_runtime::tls::{Incoming, Peer, Role};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};
use tracing::{debug, info};

use self::stream::Watching;
use crate::{
    lease::Leadership,
    table::{Hello, Roles, Table},
};

/// A replica that vanished without a word is noticed after twice that.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a replica may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// Streams end by themselves when they are told to; what is open for longer is cut off.
const GRACE: Duration = Duration::from_secs(3);
/// The longest request; answers with a reason are the longest there are.
const LONGEST_REQUEST: usize = 64 * 1024;
/// Streams of one connection.
const STREAMS: u32 = 16;

/// Serves `segmentsource.config.v1.Config` from the table.
#[derive(Clone)]
pub(crate) struct ConfigService {
    table: Arc<Table>,
    leadership: Leadership,
    nacks: Counter,
    draining: CancellationToken,
}

impl ConfigService {
    /// Streams end when `draining` is cancelled.
    pub(crate) fn new(
        table: Arc<Table>,
        leadership: Leadership,
        nacks: Counter,
        draining: CancellationToken,
    ) -> Self {
        Self { table, leadership, nacks, draining }
    }

    /// Serves these connections until it drains.
    ///
    /// # Errors
    /// When the listener fails.
    pub(crate) async fn serve(self, incoming: Incoming) -> anyhow::Result<()> {
        let stop = self.draining.clone();
        let service = ConfigServer::new(self).max_decoding_message_size(LONGEST_REQUEST);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(Some(STREAMS))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        let grace = async {
            stop.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            result = serving => Ok(result?),
            () = grace => {
                debug!("connections still open are left to the end of the process");
                Ok(())
            }
        }
    }

    fn epoch(&self) -> Result<u64, Status> {
        if self.draining.is_cancelled() {
            return Err(problem::draining());
        }
        self.leadership.epoch().ok_or_else(problem::not_leading)
    }
}

#[tonic::async_trait]
impl Config for ConfigService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let epoch = self.epoch()?;
        if !self.table.is_listed() {
            return Err(problem::not_ready());
        }
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let mut requests = request.into_inner();
        let hello = hello(&mut requests).await?;
        may_have(&peer, hello.roles)?;
        let roles = hello.roles.label();
        let address = peer.address.map(tracing::field::display);
        info!(replica = hello.replica, roles, address, "replica connected");
        let watching = Watching {
            replica: hello.replica.clone(),
            session: self.table.open(epoch, hello),
            requests,
            epoch,
            leadership: self.leadership.clone(),
            nacks: self.nacks.clone(),
            draining: self.draining.clone(),
        };
        Ok(Response::new(watching.into_stream()))
    }
}

/// Who connects, said in the first request.
async fn hello(requests: &mut Streaming<WatchRequest>) -> Result<Hello, Status> {
    let first = timeout(HELLO, requests.next()).await;
    let first =
        first.map_err(|_| problem::invalid("hello", "did not come in time"))?.transpose()?;
    let Some(watch_request::Request::Hello(hello)) = first.and_then(|it| it.request) else {
        return Err(problem::invalid("hello", "must be the first request"));
    };
    let roles = Roles::of(&hello.roles)
        .ok_or_else(|| problem::invalid("hello.roles", "must name EDGE, INGEST or both"))?;
    if !(1..=253).contains(&hello.replica.chars().count()) {
        return Err(problem::invalid("hello.replica", "must have 1 to 253 characters"));
    }
    let level = hello.schema_level;
    debug!(replica = hello.replica, level, "hello");
    Ok(Hello { replica: hello.replica, roles })
}

/// Whether the certificate has the roles that are asked for. Without TLS (on this machine only)
/// there is no certificate, and the client is believed.
fn may_have(peer: &Peer, roles: Roles) -> Result<(), Status> {
    let asked = [(roles.edge, Role::Edge), (roles.ingest, Role::Ingest)];
    for (_, role) in asked.into_iter().filter(|(asked, _)| *asked) {
        if peer.encrypted && !peer.roles.contains(role) {
            return Err(problem::role_denied(role.name(), &peer.roles.to_string()));
        }
    }
    Ok(())
}
