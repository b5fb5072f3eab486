//! The running program: started with free ports, asked over its sockets, ended with the test.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use segment_source_proto::{
    admin::v1::admin_client::AdminClient, directory::v1::directory_client::DirectoryClient,
    ingest::v1::ingest_client::IngestClient, queue::v1::queue_client::QueueClient,
};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::{
    http::{Connection, Reply, Request, call},
    manifest::NAMESPACE,
    process::{binary, memory},
    running::Running,
    sign::{SECRET, sign},
};

/// Events are as large as the largest body, and come with a description.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;

/// How the program is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    namespace: String,
    ready: bool,
    /// A folder with one for each role.
    cache: Option<PathBuf>,
}

impl Launch {
    /// `serve` on these folders, with free ports on loopback.
    #[must_use]
    pub fn new(config: &Path, store: &Path) -> Self {
        let launch = Self {
            program: binary(),
            wrapper: Vec::new(),
            arguments: vec!["serve".into()],
            environment: Vec::new(),
            namespace: NAMESPACE.to_owned(),
            ready: true,
            cache: None,
        };
        let (config, store) = (config.display().to_string(), store.display().to_string());
        let launch =
            launch.flag("config", &config).flag("store", &store).flag("log-format", "json");
        ["http", "grpc", "admin"].iter().fold(launch, |it, flag| it.flag(flag, "127.0.0.1:0"))
    }

    /// Adds `--flag value`, or changes the value that is there.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        let flag = format!("--{flag}");
        match self.arguments.iter().position(|argument| *argument == flag) {
            Some(at) => self.arguments[at + 1] = value.to_owned(),
            None => self.arguments.extend([flag, value.to_owned()]),
        }
        self
    }

    /// Keeps what a role remembers in a folder of its own inside this one.
    #[must_use]
    pub fn cache_in(mut self, folder: PathBuf) -> Self {
        self.cache = Some(folder);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the program through another one, which must `exec` it so that the process stays the
    /// same; the program and its arguments are appended.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The namespace of the sources that the server's methods name, if it is not the usual one.
    #[must_use]
    pub fn sources_of(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Does not wait for `/ready`, only for the sockets.
    #[must_use]
    pub fn unready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// The command, for tests in which the program must refuse to start.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        if let Some(folder) = &self.cache {
            let mut words = self.arguments.iter().skip_while(|word| *word != "--role");
            let role = words.nth(1).map_or("all", String::as_str);
            command.env("SEGMENT_SOURCE_CACHE", folder.join(role));
        }
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// With the program's log, when it does not come up.
    pub async fn start(self) -> Server {
        let mut running = Running::start(self.command());
        let [http, grpc, admin] = running.said("its addresses", addresses).await;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (http, grpc) = (http.unwrap_or(nowhere), grpc.unwrap_or(nowhere));
        let admin = admin.expect("it has an admin listener");
        let mut server = Server { running, namespace: self.namespace, http, grpc, admin };
        if self.ready {
            server.until_ready().await;
        }
        server
    }
}

/// A running program, and where it listens.
#[derive(Debug)]
pub struct Server {
    running: Running,
    /// Of the sources that its methods name.
    pub namespace: String,
    /// Where webhooks go.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Server {
    /// Waits until `/ready` says yes.
    ///
    /// # Panics
    /// With the program's log, when it does not.
    pub async fn until_ready(&mut self) {
        let end = std::time::Instant::now() + crate::wait::PATIENCE;
        while !matches!(self.get("/ready").await, Some(reply) if reply.status == 200) {
            assert!(self.exited().is_none(), "it ended before it was ready:\n{}", self.log());
            assert!(std::time::Instant::now() < end, "it is never ready:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// GET on the admin listener; `None` when it does not answer.
    pub async fn get(&self, target: &str) -> Option<Reply> {
        let mut connection = Connection::open(self.admin).await.ok()?;
        connection.call(&Request::new("GET", target)).await.ok()
    }

    /// Posts a body to a source, signed with the test secret.
    pub async fn post(&self, source: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_signed(source, body.as_ref(), &sign(SECRET.as_bytes(), body.as_ref())).await
    }

    /// Posts a body to a source with this signature.
    pub async fn post_signed(&self, source: &str, body: &[u8], signature: &str) -> Reply {
        call(self.http, &self.webhook(source).header("X-Signature", signature).body(body)).await
    }

    /// Posts a body to a source without a signature.
    pub async fn post_unsigned(&self, source: &str, body: &[u8]) -> Reply {
        call(self.http, &self.webhook(source).body(body)).await
    }

    /// A webhook request to a source, with Segment's usual headers.
    #[must_use]
    pub fn webhook(&self, source: &str) -> Request {
        webhook_to(&self.target(source))
    }

    /// The ingest path of a source.
    #[must_use]
    pub fn target(&self, source: &str) -> String {
        format!("/v1/sources/{}/{source}", self.namespace)
    }

    /// A client of the Queue service.
    pub async fn queue(&self) -> QueueClient<Channel> {
        QueueClient::new(self.channel().await).max_decoding_message_size(MAX_MESSAGE)
    }

    /// A client of the Admin service.
    pub async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel().await).max_decoding_message_size(MAX_MESSAGE)
    }

    /// A client of the Directory service.
    pub async fn directory(&self) -> DirectoryClient<Channel> {
        DirectoryClient::new(self.channel().await)
    }

    /// A client of the Ingest service.
    pub async fn ingest(&self) -> IngestClient<Channel> {
        IngestClient::new(self.channel().await)
    }

    /// A gRPC connection.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc));
        endpoint.expect("an address is a URI").connect().await.expect("gRPC answers")
    }

    /// Bytes of memory in use now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        memory(self.pid()).0
    }

    /// Asserts that it works as on the first day, and uses less than `bytes` of memory.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn assert_healthy(&mut self, bytes: u64) {
        assert!(self.exited().is_none(), "it ended:\n{}", self.log());
        for target in ["/live", "/ready"] {
            let reply = self.get(target).await.expect("the admin listener answers");
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        }
        assert!(!self.log().contains("panicked"), "{}", self.log());
        let used = self.memory();
        assert!(used < bytes, "{} MiB are in use", used >> 20);
    }
}

/// A webhook request to a source of the test namespace, with Segment's usual headers.
#[must_use]
pub fn webhook(source: &str) -> Request {
    webhook_to(&target(source))
}

/// A webhook request to this path, signed with the test secret.
#[must_use]
pub fn signed(target: &str, body: &str) -> Request {
    let signature = sign(SECRET.as_bytes(), body.as_bytes());
    webhook_to(target).header("X-Signature", &signature).body(body.as_bytes())
}

fn webhook_to(target: &str) -> Request {
    Request::new("POST", target)
        .header("User-Agent", "Segment (Actions)")
        .header("Content-Type", "application/json")
}

/// The ingest path of a source of the test namespace.
#[must_use]
pub fn target(source: &str) -> String {
    format!("/v1/sources/{NAMESPACE}/{source}")
}

/// The bound addresses (webhooks, gRPC, admin), from the log event that has them.
fn addresses(line: &str) -> Option<[Option<SocketAddr>; 3]> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    // A role without that listener says so with an empty or absent field.
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    let all = [address("http"), address("grpc"), address("admin")];
    all[2].is_some().then_some(all)
}
