//! Servers of Redis that the suite runs against: one for all tests of a run, on sockets and folders of
//! its own, gone with the run.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use segment_source_store::redis::target::Target;

/// A server, or several that make a cluster.
#[derive(Clone)]
pub(crate) struct Server {
    url: String,
}

/// What was started, to be ended with the run.
static STARTED: OnceLock<(Server, Mutex<Vec<Child>>)> = OnceLock::new();

impl Server {
    /// `STORE`: `embedded` (or nothing), `redis` or `valkey`, whose program is `REDIS_SERVER` then.
    pub(crate) fn wanted() -> Option<Self> {
        let kind = std::env::var("STORE").ok().filter(|kind| kind != "embedded")?;
        let (server, _) = STARTED.get_or_init(|| start(&kind));
        Some(server.clone())
    }

    pub(crate) fn target(&self) -> Target {
        Target { url: self.url.clone() }
    }
}

fn start(kind: &str) -> (Server, Mutex<Vec<Child>>) {
    let program = std::env::var_os("REDIS_SERVER").map_or("redis-server".into(), PathBuf::from);
    assert!(matches!(kind, "redis" | "valkey"), "STORE is {kind}");
    let dir = std::env::temp_dir().join(format!("store-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("socket");
    // It ends when its standard input does: with this process, however that ends.
    let child = Command::new("sh")
        .args(["-c", r#""$@" & read -r end; kill $!; wait; rm -r "$0""#])
        .arg(&dir)
        .arg(program)
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("REDIS_SERVER names the program of a Redis server");
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "Redis does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let url = format!("redis+unix://{}", socket.display());
    (Server { url }, Mutex::new(vec![child]))
}
