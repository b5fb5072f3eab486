//! The systems that are compared: what `tests/peers/*/spec.json` says of each, and starting it with
//! `start`. What they have to do is in tests/peers/README.md.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use segment_source_tests::{
    process::{beside, root},
    results::Durability,
    wire::{Message, status},
};
use serde::Deserialize;

use crate::{
    event::{Events, Mix},
    session::Session,
};

/// How long a start may take.
const READY: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);
/// Ports that a system may have besides the one it is asked at.
const OTHERS: u16 = 8;

/// spec.json.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// What people call it, and what $VARIANT is; several if the same scripts start several.
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    variants: Vec<Variant>,
    /// Of what all of them consist of.
    versions: BTreeMap<String, String>,
    /// Where events are posted.
    path: String,
    #[serde(default)]
    durability: Vec<Durability>,
    delivery: Delivery,
    note: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    system: String,
    variant: String,
    durability: Vec<Durability>,
    /// Of what only this one has.
    #[serde(default)]
    versions: BTreeMap<String, String>,
}

/// Where a delivery has what, as JSON pointers, and where in the event that comes from. What begins
/// with no `/` is a value as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    /// Absent when it is another place for each kind, and among their values.
    #[serde(default)]
    pub(crate) message_id: Option<String>,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) kinds: Kinds,
    pub(crate) identify: BTreeMap<String, String>,
    pub(crate) trigger: BTreeMap<String, String>,
}

/// What the two kinds are called in deliveries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kinds {
    pub(crate) identify: String,
    pub(crate) trigger: String,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { identify: "identify".into(), trigger: "trigger".into() }
    }
}

/// A system under test.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its folder's name.
    pub(crate) name: String,
    folder: PathBuf,
    pub(crate) system: String,
    variant: String,
    pub(crate) durability: Vec<Durability>,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) path: String,
    pub(crate) delivery: Delivery,
    pub(crate) note: String,
}

/// All of them, ours first.
pub(crate) fn all() -> anyhow::Result<Vec<Peer>> {
    let folder = root().join("tests/peers");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let folder = entry?.path();
        let file = folder.join("spec.json");
        if file.is_file() {
            let text = fs::read_to_string(&file)?;
            let spec = serde_json::from_str(&text);
            found.extend(of_spec(&folder, spec.with_context(|| file.display().to_string())?)?);
        }
    }
    let of_others = |peer: &Peer| !peer.system.starts_with("segment-source ");
    found.sort_by_key(|peer| (of_others(peer), peer.system.clone()));
    Ok(found)
}

fn of_spec(folder: &Path, spec: Spec) -> anyhow::Result<Vec<Peer>> {
    let name = folder.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
    let mut variants = spec.variants.clone();
    if let Some(system) = spec.system {
        let (variant, versions) = (String::new(), BTreeMap::new());
        variants.push(Variant { system, variant, durability: spec.durability, versions });
    }
    ensure!(!variants.is_empty(), "{name} says no system");
    let Delivery { message_id, identify, trigger, .. } = &spec.delivery;
    let tells =
        |values: &BTreeMap<String, String>| values.values().any(|from| from == "/messageId");
    let told = message_id.is_some() || tells(identify) && tells(trigger);
    ensure!(told, "{name} does not say where a delivery has the messageId");
    let peer = |one: Variant| Peer {
        name: name.clone(),
        folder: folder.to_owned(),
        system: one.system,
        variant: one.variant,
        durability: one.durability,
        versions: spec.versions.clone().into_iter().chain(one.versions).collect(),
        path: spec.path.clone(),
        delivery: spec.delivery.clone(),
        note: spec.note.clone(),
    };
    Ok(variants.into_iter().map(peer).collect())
}

/// Where peers are installed.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PEERS_CACHE") {
        return Ok(folder.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    Ok(cache
        .or(home)
        .context("neither HOME nor XDG_CACHE_HOME is set")?
        .join("segment-source/peers"))
}

impl Peer {
    /// Installs what it needs, if that is not there yet.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        let status = self.command(&self.folder.join("install"))?.status();
        let status = status.with_context(|| format!("{}: install cannot be run", self.name))?;
        ensure!(status.success(), "{}: install failed", self.name);
        Ok(())
    }

    fn command(&self, program: &Path) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.env("PEERS_CACHE", cache()?);
        command.env("SEGMENT_SOURCE", beside("segment-source"));
        command.env("VARIANT", &self.variant);
        Ok(command)
    }

    /// Starts it and waits until it takes a request and refuses one with a wrong signature.
    pub(crate) fn start(
        &self,
        folder: &Path,
        durability: Durability,
        sink: SocketAddr,
        secret: &str,
        events: &mut Events,
    ) -> anyhow::Result<Running> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let log = folder.join("log");
        let port = free_ports(1 + OTHERS)?;
        // A session of its own: `setsid` becomes the script, so the leader is our child.
        let mut command = self.command(Path::new("setsid"))?;
        command.arg(self.folder.join("start"));
        command.env("PORT", port.to_string()).env("PORTS", (port + 1).to_string());
        command.env("SINK", format!("http://{sink}/")).env("SECRET", secret);
        command.env("DIR", &data).env("DURABILITY", durability.name());
        let out = File::create(&log)?;
        command.stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().context("setsid (util-linux) is needed")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let session = Session(child.id());
        session.ends_with_us();
        let mut running = Running { session, child, address, log };
        running.until_ready(events)?;
        Ok(running)
    }
}

/// The first of so many ports that nobody listens on, one after the other.
fn free_ports(count: u16) -> anyhow::Result<u16> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Below those that outgoing connections take.
    for first in (20_000..30_000).step_by(16) {
        if (first..first + count).all(free) {
            return Ok(first);
        }
    }
    bail!("no {count} ports are free in a row")
}

/// A system that was started; it ends with this.
pub(crate) struct Running {
    child: Child,
    pub(crate) session: Session,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Running {
    fn until_ready(&mut self, events: &mut Events) -> anyhow::Result<()> {
        let new = Mix { identifies: 0, orders: 0, bad: 0, repeats: 0, refused: 0 };
        // Their number is far from those that are used. A right signature comes first: a secret that
        // has verified nothing may be wrong itself, and not everybody answers 401 by it.
        let mut request = |mix: &Mix| {
            let slot = events.plan(mix, 1 << 40, 1, 1);
            events.request(&slot[0]).to_vec()
        };
        let (good, bad) = (request(&new), request(&Mix { bad: 1000, ..new }));
        let end = Instant::now() + READY;
        loop {
            let answers = (self.ask(&good), self.ask(&bad));
            if matches!(answers, (Ok(200..300), Ok(401))) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}):\n{}", self.log());
            }
            if Instant::now() > end {
                bail!("it is not ready, the last answers were {answers:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, request: &[u8]) -> anyhow::Result<u16> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request)?;
        let (mut buffer, mut filled) = ([0; 8192], 0);
        loop {
            let read = stream.read(&mut buffer[filled..])?;
            ensure!(read > 0, "the connection was closed");
            filled += read;
            if Message::whole(&buffer[..filled])?.is_some() {
                return status(&buffer[..filled]).context("no HTTP");
            }
        }
    }

    /// Ends it, if that was not done before.
    pub(crate) fn end(&mut self) {
        if self.is_running() {
            self.session.end(STOP);
            _ = self.child.wait();
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it said.
    pub(crate) fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
