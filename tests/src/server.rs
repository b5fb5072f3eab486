//! The running program: started with free ports, asked over its sockets, ended with the test.

use std::{
    fmt::Write,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use segment_source_proto::{
    admin::v1::admin_client::AdminClient, ingest::v1::ingest_client::IngestClient,
    queue::v1::queue_client::QueueClient,
};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::{
    http::{Connection, Reply, Request, call},
    process::{binary, memory},
    sign::{SECRET, sign},
    wait::{eventually, soon},
};

/// Events are as large as the largest body, and come with a description.
const MAX_MESSAGE: usize = 64 << 20;

/// How the program is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    ready: bool,
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
            ready: true,
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
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// With the program's log, when it does not come up.
    pub async fn start(self) -> Server {
        let mut child = self.command().spawn().expect("the program starts");
        let log = Log::default();
        log.collect(child.stdout.take().expect("stdout is piped"));
        log.collect(child.stderr.take().expect("stderr is piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server =
            Server { child, log, http: nowhere, grpc: nowhere, admin: nowhere, ended: None };
        let end = std::time::Instant::now() + crate::wait::PATIENCE;
        while !server.take_addresses() {
            assert!(server.exited().is_none(), "it ended at once:\n{}", server.log());
            assert!(std::time::Instant::now() < end, "it said no addresses:\n{}", server.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if self.ready {
            server.until_ready().await;
        }
        server
    }
}

/// A running program. Dropping it kills the process, and shows its log when the test failed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Log,
    ended: Option<ExitStatus>,
    /// Where webhooks go.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Server {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a line of the log satisfies `wanted`.
    pub async fn logged(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let found = || async { self.log().lines().find(|line| wanted(line)).map(str::to_owned) };
        eventually(what, found).await
    }

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
        call(self.http, &webhook(source).header("X-Signature", signature).body(body)).await
    }

    /// Posts a body to a source without a signature.
    pub async fn post_unsigned(&self, source: &str, body: &[u8]) -> Reply {
        call(self.http, &webhook(source).body(body)).await
    }

    /// A client of the Queue service.
    pub async fn queue(&self) -> QueueClient<Channel> {
        QueueClient::new(self.channel().await).max_decoding_message_size(MAX_MESSAGE)
    }

    /// A client of the Admin service.
    pub async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel().await).max_decoding_message_size(MAX_MESSAGE)
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

    /// Kills it as the system does when memory is out, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.child.kill().expect("the process can be killed");
            self.ended = Some(self.child.wait().expect("the process is ours"));
        }
    }

    /// Asks it to end, as Kubernetes does, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to end, as Ctrl-C does, without waiting.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let end = async {
            loop {
                match self.exited() {
                    Some(status) => break status,
                    None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        };
        soon("the program ends", end).await
    }

    /// The exit status, when it has ended.
    ///
    /// # Panics
    /// When the process is not ours.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the process is ours");
        }
        self.ended
    }

    fn signal(&self, signal: Signal) {
        // Once waited for, the id may be somebody else's.
        assert!(self.ended.is_none(), "it has ended already:\n{}", self.log());
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process takes signals");
    }

    /// Reads the bound addresses from the log event that has all three.
    fn take_addresses(&mut self) -> bool {
        let event = self.log.find(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let fields = event.get("fields").unwrap_or(&event);
            let address = |name: &str| {
                // A role without that listener says so with an empty or absent field.
                fields.get(name).map(|value| value.as_str().and_then(|text| text.parse().ok()))
            };
            let all = [address("http"), address("grpc"), address("admin")];
            all.iter().any(Option::is_some).then_some(all)
        });
        let Some([http, grpc, admin]) = event else { return false };
        let Some(admin) = admin.flatten() else { return false };
        self.admin = admin;
        self.http = http.flatten().unwrap_or(self.http);
        self.grpc = grpc.flatten().unwrap_or(self.grpc);
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let mut text = String::new();
            let lines = self.log();
            let skipped = lines.lines().count().saturating_sub(80);
            for line in lines.lines().skip(skipped) {
                _ = writeln!(text, "  {line}");
            }
            // Through the captured output of the test.
            #[expect(clippy::print_stderr, reason = "shown with the failure of the test")]
            {
                eprintln!("log of process {} (last 80 lines):\n{text}", self.pid());
            }
        }
    }
}

/// A webhook request to a source of the test namespace, with Segment's usual headers.
#[must_use]
pub fn webhook(source: &str) -> Request {
    Request::new("POST", &target(source))
        .header("User-Agent", "Segment (Actions)")
        .header("Content-Type", "application/json")
}

/// The ingest path of a source of the test namespace.
#[must_use]
pub fn target(source: &str) -> String {
    format!("/v1/sources/{}/{source}", crate::manifest::NAMESPACE)
}

/// Lines of output, collected by a thread for each stream until the stream ends.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn collect(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().expect("no panic while locked").push(line);
            }
        });
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic while locked").join("\n")
    }

    fn find<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.lock().expect("no panic while locked").iter().find_map(|line| wanted(line))
    }
}
