//! `demo`: a first look. [`folder`] is what it keeps, [`story`] the events it sends, [`readback`] what
//! services see of them, [`next`] what to try then.

mod folder;
mod next;
mod readback;
mod story;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use self::{folder::Folder, story::Story};
use super::{client::Server, print};
use segment_source_runtime::{
    net::{Address, host_name},
    signals::Signals,
};

use crate::{
    args::{Output, Role, Serve, Source, store::StoreArgs},
    serve::{self, Addresses, Running},
};

/// Flags of `demo`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Folder of the demo: its manifests and its store. Kept; the next start finds it again.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./segment-source-demo",
        env = "SEGMENT_SOURCE_DIR"
    )]
    dir: PathBuf,
    /// Listens for webhooks.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "SEGMENT_SOURCE_HTTP"
    )]
    http: Address,
    /// Listens for gRPC.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9090",
        env = "SEGMENT_SOURCE_GRPC"
    )]
    grpc: Address,
    /// Listens for /live, /ready and /metrics.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9091",
        env = "SEGMENT_SOURCE_ADMIN"
    )]
    admin: Address,
}

/// Serves until a signal.
///
/// # Errors
/// When an address is taken, the folder cannot be used, or an event does not come through.
pub(super) async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let folder = Folder::prepare(&args.dir)?;
    let Running { mut process, addresses } = serve::start(&Serve {
        role: Role::All,
        config: Source::Folder(folder.sources()),
        store: StoreArgs::in_folder(&folder.store()),
        cache: None,
        http: args.http,
        grpc: args.grpc,
        admin: args.admin,
        ingest: Vec::new(),
        tls: None,
        platform_token: None,
        allow_destination: Vec::new(),
        destination_ca: None,
        knock_rate: Vec::new(),
        replica: host_name(),
        drain: Duration::from_secs(25),
    })
    .await?;
    let shown = tokio::select! {
        shown = show(&folder, addresses, process.readiness.watch(), output) => shown.map(|()| true),
        error = process.tasks.failed() => Err(error),
        _ = signals.next() => Ok(false),
    };
    match shown {
        Ok(true) => process.until_signal(signals).await?,
        Ok(false) => process.stop(&mut signals).await,
        Err(error) => {
            process.stop(&mut signals).await;
            return Err(error);
        }
    }
    if output == Output::Text {
        print::line("\nstopped; the next start goes on with what is there")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends events, and prints what became of them and what to try next.
async fn show(
    folder: &Folder,
    addresses: Addresses,
    mut readiness: watch::Receiver<BTreeSet<&'static str>>,
    output: Output,
) -> anyhow::Result<()> {
    let endpoints = Endpoints::new(addresses).context("the demo runs every role")?;
    let late = timeout(PATIENCE, readiness.wait_for(BTreeSet::is_empty)).await.is_err();
    if late {
        let missing: Vec<_> = readiness.borrow().iter().copied().collect();
        bail!(
            "not ready after {PATIENCE:?}: {} missing; run it again with --log info to see why",
            missing.join(", ")
        );
    }
    let server = Server { server: endpoints.grpc.to_string().parse()?, ca: None, token_file: None };
    let story = story::tell(folder, endpoints, &server).await?;
    let readback = readback::read(&server, &folder::SOURCE.parse()?).await?;
    if output == Output::Json {
        print::json(&json!({
            "folder": folder.root(),
            "webhooks": endpoints.webhook(),
            "grpc": endpoints.grpc,
            "admin": endpoints.admin,
            "earlier": story.earlier,
            "sent": story.sent,
            "read": readback,
        }))?;
        return Ok(());
    }
    let lines = [
        "segment-source demo\n".to_owned(),
        print::table(&[], introduction(folder, endpoints, &story)),
        format!("\n{}\n", story.table()),
        "What your services read over gRPC:\n".to_owned(),
        format!("{}\n", readback.table()),
        next::commands(folder, endpoints, &story),
    ];
    for line in lines {
        print::line(&line)?;
    }
    Ok(())
}

fn introduction(folder: &Folder, endpoints: Endpoints, story: &Story) -> Vec<Vec<String>> {
    let kept = match (folder.is_new(), story.earlier) {
        (true, _) => "new; keeps manifests, signing secret and events".to_owned(),
        (false, story::MANY) => format!("found {} or more events of earlier runs", story::MANY),
        (false, 1) => "found 1 event of earlier runs".to_owned(),
        (false, earlier) => format!("found {earlier} events of earlier runs"),
    };
    let row = |name: &str, value: String, remark: &str| {
        vec![format!("  {name}"), value, remark.to_owned()]
    };
    vec![
        row("folder", folder.root().display().to_string(), &kept),
        row("source", folder::SOURCE.to_owned(), &folder.manifest().display().to_string()),
        row("webhooks", endpoints.webhook(), "signed POST, as Segment sends them"),
        row(
            "gRPC",
            endpoints.grpc.to_string(),
            "Queue, Directory, Admin, Ingest, health, reflection",
        ),
        row("health", format!("http://{}/ready", endpoints.admin), "and /live, /metrics"),
    ]
}

/// How long the demo waits for its own server.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the demo can be reached from this machine.
#[derive(Clone, Copy, Debug)]
struct Endpoints {
    http: SocketAddr,
    grpc: SocketAddr,
    admin: SocketAddr,
}

impl Endpoints {
    /// `None` when a listener is missing.
    fn new(bound: Addresses) -> Option<Self> {
        Some(Self {
            http: reachable(bound.http?),
            grpc: reachable(bound.grpc?),
            admin: reachable(bound.admin),
        })
    }

    fn webhook(&self) -> String {
        format!("http://{}/v1/sources/{}", self.http, folder::SOURCE)
    }
}

/// One can listen on all addresses, but not connect to them.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
