//! Connecting to a running server, and saying in words why a call failed.

use std::{error::Error as _, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use segment_source_core::source::SourceId;
use segment_source_proto::{
    admin::v1::{ListSourcesRequest, admin_client::AdminClient},
    queue::v1::queue_client::QueueClient,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use segment_source_runtime::net::Address;

/// Events and payloads can be as large as the largest body, and are sent with a description.
const MAX_MESSAGE: usize = 64 << 20;

/// Which server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// gRPC address of a running server.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9090",
        env = "SEGMENT_SOURCE_SERVER"
    )]
    pub(crate) server: Address,
}

impl Server {
    pub(crate) async fn admin(&self) -> anyhow::Result<AdminClient<Channel>> {
        let client = AdminClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    pub(crate) async fn queue(&self) -> anyhow::Result<QueueClient<Channel>> {
        Ok(QueueClient::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE))
    }

    async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.server.http_url())
            .with_context(|| format!("--server {} is no address", self.server))?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true);
        endpoint.connect().await.map_err(|error| {
            anyhow!(
                "nothing answers at {} ({}); start `segment-source serve` or `segment-source \
                 demo`, or name its gRPC address with --server",
                self.server,
                innermost(&error)
            )
        })
    }
}

/// The cause at the end of a chain, which is the one that says something.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A failed call in words for people.
pub(crate) fn explain(status: Status) -> anyhow::Error {
    match status.code() {
        Code::Unavailable => anyhow!("the server cannot answer now: {}", status.message()),
        Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition => {
            anyhow!("{}", status.message())
        }
        // gRPC without this service, or HTTP/1, with which the connection ends before an answer.
        code if code == Code::Unimplemented || status.message() == "transport error" => {
            anyhow!(
                "what answers there is no gRPC port of segment-source ({}); name the one that \
                 `serve` logs as grpc with --server",
                status.message()
            )
        }
        Code::Unknown | Code::Internal if status.source().is_some() => {
            anyhow!("the connection to the server broke: {}", innermost(&status))
        }
        code => anyhow!("{code:?}: {}", status.message()),
    }
}

/// The source that was named, or else the only one the server has.
pub(crate) async fn named_or_only(
    named: Option<SourceId>,
    server: &Server,
) -> anyhow::Result<SourceId> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut admin = server.admin().await?;
    let sources = admin.list_sources(ListSourcesRequest {}).await.map_err(explain)?;
    let names: Vec<String> = (sources.into_inner().sources.iter())
        .map(|source| format!("{}/{}", source.namespace, source.name))
        .collect();
    match &names[..] {
        [] => bail!("the server at {} has no source yet", server.server),
        [only] => Ok(only.parse()?),
        several => bail!("which source? Name one with --source: {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use tonic::Status;

    use super::{Server, explain, named_or_only};

    #[test]
    fn a_connection_that_broke_is_no_wrong_port() {
        let broken = std::io::Error::other("broken pipe");
        let told = explain(Status::from_error(Box::new(broken))).to_string();
        assert_eq!(told, "the connection to the server broke: broken pipe");
    }

    #[tokio::test]
    async fn a_port_that_speaks_something_else_is_told_apart_from_a_failing_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string().parse().unwrap();
        let web = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let _ = peer.read(&mut [0; 1024]).await;
            peer.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        let error = named_or_only(None, &Server { server }).await.unwrap_err().to_string();
        assert!(error.contains("is no gRPC port of segment-source"), "{error}");
        web.await.unwrap();
    }
}
