//! Both ends of the keeper: the process that runs a cluster's parts and ends them all when its
//! standard input ends, which it does however the test process ends. It says one line of JSON when
//! everything is ready ([`Facts`]); then each line it reads is a command, `stop PART` or `start PART`,
//! answered with `ok` or `error: ...`.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    control::{ControlPlane, Plan},
    node,
    tools::Version,
};

/// What the test process has to know about a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// All files of the cluster, `<part>.log` among them; goes with it.
    pub folder: PathBuf,
    /// The API server.
    pub url: String,
    /// The administrator's.
    pub kubeconfig: PathBuf,
    /// Certificate of the CA of the API server.
    pub ca: PathBuf,
    /// Where etcd listens, without TLS.
    pub etcd: SocketAddr,
}

/// What a keeper is told, and what it says.
type Pipes = (ChildStdin, BufReader<ChildStdout>);

/// The test's end: a running keeper. Dropping it ends the cluster.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    pipes: Arc<Mutex<Option<Pipes>>>,
}

impl Keeper {
    /// Starts a keeper and waits until its cluster is ready.
    ///
    /// # Panics
    /// When it does not come up; the keeper has said why on standard error.
    pub async fn start(arguments: Vec<String>) -> (Self, Facts) {
        let start = move || {
            let mut command = Command::new(binary());
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
            // Ctrl-C is for the test process; the keeper sees that it is gone.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let mut child = command.spawn().expect("the keeper starts");
            let stdin = child.stdin.take().expect("stdin is piped");
            let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
            let mut line = String::new();
            stdout.read_line(&mut line).expect("the keeper can be heard");
            let facts = serde_json::from_str(&line);
            let facts = facts.expect("the cluster comes up; why it did not is on standard error");
            (Self { child, pipes: Arc::new(Mutex::new(Some((stdin, stdout)))) }, facts)
        };
        tokio::task::spawn_blocking(start).await.expect("the keeper was started")
    }

    /// Tells it a command and waits until that is done.
    ///
    /// # Panics
    /// When it cannot be done.
    pub async fn tell(&self, command: String) {
        let pipes = Arc::clone(&self.pipes);
        // The test's other tasks go on meanwhile.
        let tell = move || {
            let mut pipes = pipes.lock().expect("no panic while locked");
            let (stdin, stdout) = pipes.as_mut().expect("the keeper runs");
            writeln!(stdin, "{command}").expect("the keeper listens");
            let mut answer = String::new();
            stdout.read_line(&mut answer).expect("the keeper answers");
            (command, answer)
        };
        let (command, answer) = tokio::task::spawn_blocking(tell).await.expect("it was told");
        assert_eq!(answer.trim_end(), "ok", "{command}");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(mut pipes) = self.pipes.lock() {
            drop(pipes.take());
        }
        // Without its standard input it ends.
        _ = self.child.wait();
    }
}

/// The keeper's binary, built beside the running test.
fn binary() -> PathBuf {
    let own = env::current_exe().expect("a process knows its file");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("cluster"));
    found.clone().find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("no `cluster` beside {}: run `cargo build --workspace` first", own.display())
    })
}

/// The keeper of a lone API server.
///
/// # Errors
/// When it does not come up.
pub async fn keep_api_server(version: Version, flags: Vec<String>) -> Result<()> {
    let folder = folder()?;
    let address = Ipv4Addr::LOCALHOST.into();
    let plan = Plan { version, address, flags, pods: false };
    let mut commands = Commands::open()?;
    let plane = tokio::select! {
        plane = ControlPlane::start(folder.path(), &plan) => plane?,
        _ = commands.next() => return Ok(()),
    };
    serve(plane, commands).await
}

/// The keeper of a whole cluster, outside of its namespaces: goes into new ones and cleans up after
/// them.
///
/// # Errors
/// When that does not work.
pub async fn keep_cluster() -> Result<ExitCode> {
    let folder = folder()?;
    let mut unshare = unshare(folder.path())?;
    // The namespaces are that process's, so this is the name they have outside.
    fs::write(folder.path().join("pid"), unshare.id().unwrap_or_default().to_string())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let status = tokio::select! {
        status = unshare.wait() => status?,
        _ = terminated.recv() => { unshare.start_kill()?; unshare.wait().await? }
        _ = interrupted.recv() => { unshare.start_kill()?; unshare.wait().await? }
    };
    remove_cgroups(folder.path()).await?;
    folder.close()?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Runs `cluster init FOLDER` as process 1 of namespaces of its own. When it ends, the kernel ends
/// every process in them, containers too, and takes back mounts and network.
fn unshare(folder: &Path) -> Result<tokio::process::Child> {
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private"]);
    command.args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]);
    command.arg(env::current_exe()?).arg("init").arg(folder);
    command.spawn().context("cannot run setpriv (package util-linux)")
}

/// Process 1 of the namespaces: runs `cluster inside FOLDER`, and takes in orphans until that ends.
///
/// # Errors
/// When it cannot be run.
pub fn init(folder: &Path) -> Result<ExitCode> {
    let child = Command::new(env::current_exe()?).arg("inside").arg(folder).spawn()?;
    let child = rustix::process::Pid::from_child(&child);
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => {
                return Ok(ExitCode::from(u8::from(status.exit_status() != Some(0))));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The keeper of a whole cluster, inside of its namespaces.
///
/// # Errors
/// When it does not come up.
pub async fn keep_inside(folder: &Path) -> Result<()> {
    let mut commands = Commands::open()?;
    let plane = tokio::select! {
        plane = node::start(folder) => plane?,
        _ = commands.next() => return Ok(()),
    };
    serve(plane, commands).await
}

/// Says the facts, then does what it is told until there is nobody any more to tell.
async fn serve(mut plane: ControlPlane, mut commands: Commands) -> Result<()> {
    let facts = Facts {
        folder: plane.folder().to_owned(),
        url: plane.url.clone(),
        kubeconfig: plane.kubeconfig.clone(),
        ca: plane.keys.ca.clone(),
        etcd: plane.etcd,
    };
    say(&serde_json::to_string(&facts)?);
    while let Some(command) = commands.next().await {
        match obey(&mut plane, &command).await {
            Ok(()) => say("ok"),
            Err(error) => say(&format!("error: {}", format!("{error:#}").replace('\n', " | "))),
        }
    }
    Ok(())
}

async fn obey(plane: &mut ControlPlane, command: &str) -> Result<()> {
    match command.split_once(' ') {
        Some(("stop", name)) => {
            plane.part(name)?.kill();
            Ok(())
        }
        Some(("start", name)) => {
            plane.part(name)?.start()?;
            plane.until_ready(name).await
        }
        _ => bail!("no such command: {command}; there are: stop PART, start PART"),
    }
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody may listen any more; then standard input has ended, too.
    _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Lines of standard input, until it ends or a signal asks to end.
struct Commands {
    lines: mpsc::Receiver<String>,
    terminated: Signal,
    interrupted: Signal,
}

impl Commands {
    fn open() -> Result<Self> {
        let (to, lines) = mpsc::channel(1);
        thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let Ok(line) = line else { break };
                if to.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        let terminated = signal(SignalKind::terminate())?;
        let interrupted = signal(SignalKind::interrupt())?;
        Ok(Self { lines, terminated, interrupted })
    }

    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            line = self.lines.recv() => line,
            _ = self.terminated.recv() => None,
            _ = self.interrupted.recv() => None,
        }
    }
}

/// Removes what the pods' control groups leave: empty folders, as soon as the kernel is done.
async fn remove_cgroups(folder: &Path) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    for cgroup in node::cgroups(folder) {
        while cgroup.is_dir() && remove_cgroup(&cgroup).is_err() {
            ensure!(Instant::now() < end, "{} cannot be removed", cgroup.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The last one out; it stays while other clusters have containers in it.
        _ = cgroup.parent().map(fs::remove_dir);
    }
    Ok(())
}

fn remove_cgroup(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_cgroup(&path)?;
        }
    }
    fs::remove_dir(cgroup)
}

fn folder() -> Result<tempfile::TempDir> {
    // Paths of sockets must be short.
    Ok(tempfile::Builder::new().prefix("k8s-test-").tempdir()?)
}
