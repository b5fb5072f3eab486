//! Connecting to a running server, and saying in words why a call failed.

use std::{error::Error as _, fmt, fs, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use segment_source_core::source::SourceId;
use segment_source_proto::{
    admin::v1::{ListSourcesRequest, admin_client::AdminClient},
    directory::v1::directory_client::DirectoryClient,
    queue::v1::queue_client::QueueClient,
};
use segment_source_runtime::{
    net::{Address, InvalidAddress, innermost},
    tls::{self, Authorities, Dial},
};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Events and payloads can be as large as the largest body, and are sent with a description.
const MAX_MESSAGE: usize = 64 << 20;

/// Where `serve` and `demo` listen unless they are told otherwise.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:9090";

/// Which server, and by what it knows who is asking.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// gRPC address of a running server: HOST:PORT on this machine, or https://HOST:PORT.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = DEFAULT_SERVER,
        env = "SEGMENT_SOURCE_SERVER"
    )]
    pub(crate) server: ServerAddress,
    /// Certificate of the authority that the server's is checked with (https://).
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// File with a token: an access token of the source, or the platform token. A server without
    /// TLS on this machine needs none.
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// A connection that says who is asking.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

impl Server {
    pub(crate) async fn admin(&self) -> anyhow::Result<AdminClient<Connection>> {
        let client = AdminClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    pub(crate) async fn queue(&self) -> anyhow::Result<QueueClient<Connection>> {
        Ok(QueueClient::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE))
    }

    pub(crate) async fn directory(&self) -> anyhow::Result<DirectoryClient<Connection>> {
        Ok(DirectoryClient::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let bearer = self.bearer()?;
        let channel = match self.server.secure {
            true => self.connect_securely().await?,
            false => self.connect_plainly().await?,
        };
        Ok(InterceptedService::new(channel, bearer))
    }

    async fn connect_plainly(&self) -> anyhow::Result<Channel> {
        let connecting = self.endpoint()?.connect().await;
        connecting.map_err(|error| self.unreachable(&innermost(&error)))
    }

    async fn connect_securely(&self) -> anyhow::Result<Channel> {
        let Some(file) = &self.ca else {
            bail!(
                "--server {} needs --ca FILE: the certificate of the authority that the server's \
                 is checked with (`ca.crt` beside the server's own)",
                self.server
            );
        };
        let shown = file.display();
        let pem = fs::read(file).with_context(|| format!("cannot read --ca {shown}"))?;
        let authorities = Authorities::from_pem(&pem).with_context(|| format!("--ca {shown}"))?;
        let dial = Dial::Server(authorities);
        let address = &self.server.address;
        let channel = tls::connect(&self.endpoint()?, address, dial, tls::Role::Ingest);
        // The channel connects when it is first used; health is open to all.
        let probe = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
        match probe {
            Err(status) if status.code() == Code::Unavailable && status.source().is_some() => {
                Err(self.unreachable(&innermost(&status)))
            }
            _ => Ok(channel),
        }
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let endpoint = Endpoint::from_shared(self.server.address.http_url())
            .with_context(|| format!("--server {} is no address", self.server))?;
        Ok(endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true))
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        anyhow!(
            "nothing answers at {} ({why}); start `segment-source serve` or `segment-source demo`, \
             or name its gRPC address with --server",
            self.server
        )
    }

    fn bearer(&self) -> anyhow::Result<Bearer> {
        let Some(file) = &self.token_file else { return Ok(Bearer(None)) };
        if !self.server.secure && !self.server.address.is_loopback() {
            bail!(
                "--server {} is beyond this machine, and a token must not cross a network in the \
                 clear: name it as https://{}, with --ca",
                self.server,
                self.server.address
            );
        }
        let shown = file.display();
        let token = fs::read_to_string(file);
        let token = token.with_context(|| format!("cannot read --token-file {shown}"))?;
        let value = format!("Bearer {}", token.trim()).parse();
        let mut value: MetadataValue<Ascii> = value.map_err(|_| {
            anyhow!("--token-file {shown} holds no token: it is letters and digits")
        })?;
        if token.trim().is_empty() {
            bail!("--token-file {shown} is empty");
        }
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

/// Puts the token into every request.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Where a server is, and whether it is reached by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    address: Address,
    secure: bool,
}

impl FromStr for ServerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (secure, address) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => (false, text),
        };
        let address = address.strip_suffix('/').unwrap_or(address).parse()?;
        Ok(Self { address, secure })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "https://" } else { "" })?;
        self.address.fmt(f)
    }
}

/// A failed call in words for people.
pub(crate) fn explain(status: Status) -> anyhow::Error {
    match status.code() {
        Code::Unavailable => anyhow!("the server cannot answer now: {}", status.message()),
        Code::Unauthenticated => {
            anyhow!("{}; here, --token-file names the file with the token", status.message())
        }
        Code::PermissionDenied => {
            anyhow!("{}; here, --token-file names the file with it", status.message())
        }
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

/// A source of a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct AtSource {
    #[command(flatten)]
    pub(crate) server: Server,
    /// The source; may be left out when the server has one only.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: Option<SourceId>,
}

impl AtSource {
    /// The one that was named, or else the only one the server has.
    pub(crate) async fn source(&self) -> anyhow::Result<SourceId> {
        if let Some(named) = &self.source {
            return Ok(named.clone());
        }
        let mut admin = self.server.admin().await?;
        let sources = admin.list_sources(ListSourcesRequest {}).await.map_err(explain)?;
        let names: Vec<String> = (sources.into_inner().sources.iter())
            .map(|source| format!("{}/{}", source.namespace, source.name))
            .collect();
        match &names[..] {
            [] => bail!("the server at {} has no source yet", self.server.server),
            [only] => Ok(only.parse()?),
            several => bail!("which source? Name one with --source: {}", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use tonic::Status;

    use super::{AtSource, Server, ServerAddress, explain};

    #[test]
    fn a_connection_that_broke_is_no_wrong_port() {
        let broken = std::io::Error::other("broken pipe");
        let told = explain(Status::from_error(Box::new(broken))).to_string();
        assert_eq!(told, "the connection to the server broke: broken pipe");
    }

    #[test]
    fn servers_are_named_with_or_without_tls() {
        let check = |text: &str, secure: bool, shown: &str| {
            let server: ServerAddress = text.parse().unwrap();
            assert_eq!((server.secure, server.to_string().as_str()), (secure, shown), "{text}");
        };
        check("127.0.0.1:9090", false, "127.0.0.1:9090");
        check("http://localhost:9090", false, "localhost:9090");
        check("https://127.0.0.1:9090", true, "https://127.0.0.1:9090");
        check("https://ingest:9090/", true, "https://ingest:9090");
        for bad in ["https://", "ftp://a:1", "https://a", "https://a:1/b"] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad} was taken");
        }
    }

    #[tokio::test]
    async fn a_token_does_not_cross_a_network_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = Some(folder.path().join("token"));
        std::fs::write(folder.path().join("token"), "secret\n").unwrap();
        let server = Server { server: "10.0.0.1:9090".parse().unwrap(), ca: None, token_file };
        let error = server.admin().await.unwrap_err().to_string();
        assert!(error.contains("https://10.0.0.1:9090"), "{error}");
        let error = Server { server: "https://10.0.0.1:9090".parse().unwrap(), ..server };
        let error = error.admin().await.unwrap_err().to_string();
        assert!(error.contains("--ca"), "{error}");
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
        let server = Server { server, ca: None, token_file: None };
        let error = AtSource { server, source: None }.source().await.unwrap_err().to_string();
        assert!(error.contains("is no gRPC port of segment-source"), "{error}");
        web.await.unwrap();
    }
}
