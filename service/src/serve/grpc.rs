//! The gRPC listener: which services it has, their limits, and health as gRPC clients ask for it.

use std::{collections::BTreeSet, time::Duration};

use segment_source_destinations::{directory::DirectoryService, queue::QueueService};
use segment_source_ingest::{AdminService, IngestService};
use segment_source_proto::{
    DESCRIPTORS, admin::v1::admin_server::AdminServer,
    directory::v1::directory_server::DirectoryServer, ingest::v1::ingest_server::IngestServer,
    queue::v1::queue_server::QueueServer,
};
use segment_source_rpc::{Access, Caller};
use segment_source_runtime::tls::{Security, incoming};
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, server::NamedService, service::Routes, service::interceptor::InterceptorLayer,
    transport::server::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::debug;

use super::{
    authenticate::Authenticate,
    connection::{CONNECTION_WINDOW, Incoming, KEEPALIVE, STREAM_WINDOW},
};

/// The services end their calls by themselves when they are told to; what is open for longer is
/// someone else's, such as a client that keeps a reflection call.
const GRACE: Duration = Duration::from_secs(3);

/// Names gRPC health is asked for; the empty one means the whole process.
const HEALTH_NAMES: [&str; 5] = [
    "",
    IngestServer::<IngestService>::NAME,
    QueueServer::<QueueService>::NAME,
    DirectoryServer::<DirectoryService>::NAME,
    AdminServer::<AdminService>::NAME,
];

/// The services of the ingest role.
pub(crate) struct Services {
    pub(crate) ingest: IngestService,
    pub(crate) queue: QueueService,
    pub(crate) directory: DirectoryService,
    pub(crate) admin: AdminService,
}

impl Services {
    /// Serves all of them, health and reflection over TCP to those that `access` or their
    /// certificate makes known. After `stop` the calls under way may end; the services were told to
    /// end theirs before.
    ///
    /// # Errors
    /// When the listener or reflection fails.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        security: Security,
        access: Access,
        readiness: watch::Receiver<BTreeSet<&'static str>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let routes = Routes::new(self.ingest.into_server())
            .add_service(self.queue.into_server())
            .add_service(self.directory.into_server())
            .add_service(self.admin.into_server())
            .add_service(health)
            .add_service(reflection);
        let serving = server()
            // A consumer that vanished without a word is noticed, and its leases end.
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .layer(Authenticate::new(access))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                incoming(listener, security),
                stop.clone().cancelled_owned(),
            );
        let grace = async {
            report_health(reporter, readiness, stop).await;
            sleep(GRACE).await;
        };
        tokio::select! {
            result = serving => Ok(result?),
            () = grace => {
                debug!("calls still open are left to the end of the process");
                Ok(())
            }
        }
    }
}

/// Serves the ingest over connections in memory until `stop`. At their other end is the edge.
///
/// # Errors
/// When the transport fails.
pub(crate) async fn serve_in_memory(
    ingest: IngestService,
    incoming: Incoming,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let edge = InterceptorLayer::new(|mut request: Request<()>| {
        request.extensions_mut().insert(Caller::Edge);
        Ok(request)
    });
    server()
        .layer(edge)
        .add_service(ingest.into_server())
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(Some(1024))
}

/// Says to gRPC health clients what `/ready` says, until `stop`; then their watches end.
async fn report_health(
    mut reporter: HealthReporter,
    mut readiness: watch::Receiver<BTreeSet<&'static str>>,
    stop: CancellationToken,
) {
    let report = async {
        loop {
            let status = match readiness.borrow_and_update().is_empty() {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            for service in HEALTH_NAMES {
                reporter.set_service_status(service, status).await;
            }
            if readiness.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = report => {}
        () = stop.cancelled() => {}
    }
    // A watch that goes on would hold the server's end until time is up.
    for service in HEALTH_NAMES {
        reporter.clear_service_status(service).await;
    }
}
