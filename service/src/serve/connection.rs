//! How the edge reaches its ingest: through memory when both are in this process, else over TCP.
//! The same gRPC service is at the other end of both.

use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::{Channel, Endpoint, Uri};

use segment_source_runtime::{
    net::Address,
    tls::{Dial, Role, connect},
};

/// Bytes that may be under way on one stream; larger than the largest request, so that one request
/// never waits for window updates in its middle.
pub(crate) const STREAM_WINDOW: u32 = 20 << 20;
/// Bytes that may be under way on one connection.
pub(crate) const CONNECTION_WINDOW: u32 = 32 << 20;
/// Silence after which the other end is asked whether it is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);
/// The same for an edge and its ingests, and how long the other end may take to say so. Together they
/// are less than a request's deadline: what waits for an ingest that is cut off is sent to another
/// one in time.
const PING: Duration = Duration::from_secs(1);
const PONG: Duration = Duration::from_secs(2);

/// A buffer of this size sits between the two ends of a connection in memory.
const DUPLEX_BUFFER: usize = 256 << 10;

/// New in-memory connections, for the server to accept.
pub(crate) type Incoming = std::pin::Pin<
    Box<dyn tokio_stream::Stream<Item = io::Result<DuplexStream>> + Send + Sync + 'static>,
>;

/// A channel whose connections come out of the stream beside it; a lost connection is replaced by
/// a new one, as over a network.
pub(crate) fn in_memory() -> (Channel, Incoming) {
    let (connections, incoming) = mpsc::channel(4);
    let connector = tower::service_fn(move |_: Uri| {
        let connections = connections.clone();
        async move {
            let (near, far) = duplex(DUPLEX_BUFFER);
            let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "ingest has stopped");
            connections.send(far).await.map_err(gone)?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    // Never resolved: the connector ignores it.
    let channel = windows(Endpoint::from_static("http://ingest.invalid"))
        .connect_with_connector_lazy(connector);
    (channel, Box::pin(ReceiverStream::new(incoming).map(Ok)))
}

/// A channel to one ingest over TCP that connects when it is first used, and again whenever it must.
pub(crate) fn remote(ingest: &Address, dial: Dial) -> Channel {
    // Never resolved: what is dialled is said beside it.
    let endpoint = Endpoint::from_static(match dial {
        Dial::Plaintext => "http://ingest.segment-source.internal",
        Dial::Mutual(_) | Dial::Server(_) => "https://ingest.segment-source.internal",
    });
    let endpoint = endpoint
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true);
    connect(&windows(endpoint), ingest, dial, Role::Ingest)
}

fn windows(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::transport::Server;
    use tonic_health::{
        pb::{HealthCheckRequest, health_client::HealthClient},
        server::health_reporter,
    };

    use super::in_memory;

    #[tokio::test]
    async fn a_lost_connection_in_memory_is_replaced() {
        let (channel, mut incoming) = in_memory();
        let (_reporter, health) = health_reporter();
        tokio::spawn(async move {
            drop(incoming.next().await);
            Server::builder().add_service(health).serve_with_incoming(incoming).await
        });
        let mut client = HealthClient::new(channel);
        client.check(HealthCheckRequest::default()).await.unwrap_err();
        client.check(HealthCheckRequest::default()).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_server_calls_fail_at_once() {
        let (channel, incoming) = in_memory();
        drop(incoming);
        let mut client = HealthClient::new(channel);
        client.check(HealthCheckRequest::default()).await.unwrap_err();
    }
}
