//! Real Redis servers of a test: one ([`Redis`]), or a cluster of six (`cluster`), each process in a
//! temporary folder that goes with it. `REDIS_SERVER_BIN` names another server, such as Valkey's.

mod cluster;

use std::{
    collections::BTreeMap,
    env, fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection, cmd};
use tempfile::TempDir;

pub use cluster::Cluster;

use crate::{
    kube::tools::{find, skipped},
    powercut::PowerCut,
    running::Running,
    tls::Authority,
    wait::eventually,
};

/// The server's program, when there is one.
#[must_use]
pub fn program() -> Option<PathBuf> {
    env::var_os("REDIS_SERVER_BIN").map(PathBuf::from).or_else(|| find("redis-server"))
}

/// Whether there is a server to test with. Otherwise the caller returns, after a line that says so.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
#[must_use]
pub fn available() -> bool {
    program().is_some() || skipped("redis-server missing; tests/tools/redis brings it")
}

/// Whether the server was built with TLS; as [`available`] otherwise.
///
/// # Panics
/// As [`available`], and when the program cannot be run.
#[must_use]
pub fn tls_available() -> bool {
    let Some(program) = program() else { return available() };
    // It ends in any case: there is no certificate.
    let output = Command::new(program).args(["--port", "0", "--tls-port", "1"]).output();
    let said = String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned();
    !said.contains("Failed finding TLS support") || skipped("this server has no TLS")
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `appendfsync`, or `None` without an append-only file.
    pub fsync: Option<&'static str>,
    /// The one user who gets in, and its password.
    pub user: Option<(&'static str, &'static str)>,
    /// Who issues its certificate, for `localhost` or the name of `at`; it then listens by TLS alone, beside the socket.
    pub tls: Option<Arc<Authority>>,
    /// Whether it listens on a port of 127.0.0.1 as well; always so with TLS.
    pub port: bool,
    /// Where its port is, when it is not on this machine's loopback.
    pub at: Option<Box<At>>,
    /// How long a sync takes at the most on its disk, which can lose its power ([`Redis::cut_power`]).
    pub slow: Option<Duration>,
    /// More directives: name, value.
    pub more: Vec<(&'static str, String)>,
}

/// A network in which it listens, such as a cluster's.
#[derive(Clone, Debug)]
pub struct At {
    /// The file of its namespace.
    pub netns: PathBuf,
    /// The address that it listens at.
    pub address: IpAddr,
    /// What it is called there, and in its certificate.
    pub name: String,
}

impl Default for Setup {
    /// A socket, every write synced, nobody kept out.
    fn default() -> Self {
        Self {
            fsync: Some("always"),
            user: None,
            tls: None,
            port: false,
            at: None,
            slow: None,
            more: Vec::new(),
        }
    }
}

impl Setup {
    /// With TLS, by an authority of its own.
    #[must_use]
    pub fn with_tls(self) -> Self {
        Self { tls: Some(Arc::new(Authority::new())), ..self }
    }

    /// With one more directive of redis.conf.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.more.push((name, value.to_string()));
        self
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    running: Running,
    folder: TempDir,
    setup: Setup,
    port: u16,
    cut: Option<Box<PowerCut>>,
}

impl Redis {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When there is no program ([`available`]), or it does not start.
    pub async fn start(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir().expect("a folder");
        if let Some(authority) = &setup.tls {
            let name = setup.at.as_ref().map_or("localhost", |at| at.name.as_str());
            authority.write_names(folder.path(), &[name]);
        }
        let slow = |longest| PowerCut::of_folder(folder.path(), "appendonlydir").slow(longest);
        let cut = setup.slow.map(slow).map(Box::new);
        let mut tries = 0;
        let (mut running, port) = loop {
            let port = if setup.port || setup.tls.is_some() { free_port() } else { 0 };
            let running = Running::start(command(folder.path(), &setup, port, cut.as_deref()));
            // Between looking for a free port and taking it, somebody else may have.
            match began(running).await {
                Ok(running) => break (running, port),
                Err(log) if tries < 3 && log.contains("Address already in use") => tries += 1,
                Err(log) => panic!("redis-server did not start:\n{log}"),
            }
        };
        running.said("that it is ready", ready).await;
        let redis = Self { running, folder, setup, port, cut };
        redis.answers().await;
        redis
    }

    /// As [`Redis::start`] with the usual setup, for those who do not wait.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[must_use]
    pub fn start_apart() -> Self {
        apart(|| Self::start(Setup::default()))
    }

    /// Its port; 0 when it has only the socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `--store` takes for it on this machine; with its user.
    #[must_use]
    pub fn url(&self) -> String {
        let user = self.setup.user.map(|(user, password)| format!("{user}:{password}@"));
        let user = user.unwrap_or_default();
        match (self.setup.tls.is_some(), self.port) {
            (true, port) => format!("rediss://{user}localhost:{port}"),
            (false, 0) => format!("redis+unix://{user}{}", self.socket().display()),
            (false, port) => format!("redis://{user}127.0.0.1:{port}"),
        }
    }

    /// Its socket, which it listens on in any case.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority of its certificate (PEM), when it has one.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        self.setup.tls.as_ref().map(|authority| authority.pem())
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Running {
        &self.running
    }

    /// Kills it as the system does when memory is out.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Takes its power away: of its append-only file only what was synced is left. Once only.
    ///
    /// # Panics
    /// When its disk is not one that is [slow](Setup::slow).
    pub fn cut_power(&mut self) {
        self.running.kill();
        self.cut.as_ref().expect("it runs with the shim").cut();
    }

    /// How many syncs were slow so far.
    #[must_use]
    pub fn slow_syncs(&self) -> u64 {
        self.cut.as_deref().map_or(0, PowerCut::slow_syncs)
    }

    /// Starts it again on the same folder and port, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.running.kill();
        _ = fs::remove_file(self.socket());
        let (folder, cut) = (self.folder.path(), self.cut.as_deref());
        self.running = Running::start(command(folder, &self.setup, self.port, cut));
        self.running.said("that it is ready", ready).await;
        self.answers().await;
    }

    /// Another connection, past the program under test.
    ///
    /// # Panics
    /// When it is not running.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.connect().await.expect("redis-server answers")
    }

    /// The answer to one command.
    ///
    /// # Panics
    /// When there is none of this type.
    pub async fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> T {
        cmd.query_async(&mut self.connection().await).await.expect("redis-server answers")
    }

    /// How many partitions of the store each process has that has some.
    pub async fn partitions(&self) -> BTreeMap<Vec<u8>, usize> {
        let mut owners = BTreeMap::new();
        for partition in 0..16 {
            let key = format!("segment-source:{{p{partition:02}}}:own");
            let owner: Option<Vec<u8>> = self.ask(cmd("GET").arg(key)).await;
            if let Some(owner) = owner {
                *owners.entry(owner).or_default() += 1;
            }
        }
        owners
    }

    /// Changes a directive while it runs.
    pub async fn set(&self, name: &str, value: &str) {
        () = self.ask(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut login = redis::RedisConnectionInfo::default();
        if let Some((user, password)) = self.setup.user {
            login = login.set_username(user).set_password(password);
        }
        let address = redis::ConnectionAddr::Unix(self.socket());
        let info = redis::IntoConnectionInfo::into_connection_info(address)?;
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        redis::Client::open(info.set_redis_settings(login))?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn answers(&self) {
        eventually("redis-server answers", || async {
            let mut connection = self.connect().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }
}

fn ready(line: &str) -> Option<()> {
    line.contains("eady to accept connections").then_some(())
}

/// Waits until it runs, or tells why not.
async fn began(mut running: Running) -> Result<Running, String> {
    eventually("redis-server begins or ends", || {
        let state =
            (running.exited().is_some(), running.log().lines().any(|line| ready(line).is_some()));
        async move { (state.0 || state.1).then_some(()) }
    })
    .await;
    match running.exited() {
        None => Ok(running),
        Some(_) => Err(running.log()),
    }
}

fn command(folder: &Path, setup: &Setup, port: u16, cut: Option<&PowerCut>) -> Command {
    let program = program().expect("see available()");
    let mut command = match &setup.at {
        None => Command::new(program),
        Some(at) => {
            // It becomes the server, which so keeps the process id.
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", at.netns.display())).arg("--").arg(program);
            command
        }
    };
    command.current_dir(folder).envs(cut.map(PowerCut::environment).unwrap_or_default());
    let mut set = |name: &str, value: &str| {
        command.arg(format!("--{name}")).arg(value);
    };
    set("dir", &folder.to_string_lossy());
    set("unixsocket", &folder.join("redis.sock").to_string_lossy());
    let address = setup.at.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |at| at.address);
    set("bind", &address.to_string());
    set("save", "");
    set("daemonize", "no");
    set("appendonly", if setup.fsync.is_some() { "yes" } else { "no" });
    set("appendfsync", setup.fsync.unwrap_or("no"));
    if setup.tls.is_some() {
        set("port", "0");
        set("tls-port", &port.to_string());
        set("tls-cert-file", "tls.crt");
        set("tls-key-file", "tls.key");
        set("tls-ca-cert-file", "ca.crt");
        set("tls-auth-clients", "no");
    } else {
        set("port", &port.to_string());
    }
    if let Some((user, password)) = setup.user {
        let password = format!(">{password}");
        command.args(["--user", user, "on", &password, "~*", "&*", "+@all"]);
        if user != "default" {
            // With its rights: by those Redis judges transactions when it reads its append-only
            // file, and leaves out what they do not cover (docs/doctor.md).
            command.args(["--user", "default", "off", "~*", "&*", "+@all"]);
        }
    }
    for (name, value) in &setup.more {
        command.arg(format!("--{name}")).args(value.split(' '));
    }
    command
}

/// A port that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it listens").port()
}

/// Waits for it on a thread of its own.
fn apart<T: Send + 'static, F: Future<Output = T>>(
    start: impl FnOnce() -> F + Send + 'static,
) -> T {
    let starting = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(start())
    });
    starting.join().expect("Redis starts")
}
