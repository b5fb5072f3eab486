//! The benchmark: starts a server on a store of its own, puts load on it from this process, and
//! prints what it did and what it cost. Bounded in time, loopback only; see `tests/README.md`.
//! What one event is lives in [`event`], one connection in [`client`], the two kinds of load in
//! [`run`], reading actions in [`consume`], delivery to all kinds of destinations in [`deliver`] and
//! the endpoint that is posted to in [`sink`], many sources and large requests beside one and small ones
//! in [`compare`], printing in [`report`].

mod client;
mod compare;
mod consume;
mod deliver;
mod event;
mod report;
mod run;
mod sink;

use std::{net::SocketAddr, path::PathBuf, time::Instant};

use clap::{Parser, ValueEnum};
use segment_source_tests::{
    manifest::{signing_secret, source},
    process::{cpu_micros, memory, root},
    redis::{Redis, Setup, program},
    server::{Launch, Server},
    site::Site,
};
use serde_json::json;

use crate::{
    compare::Compare,
    deliver::Deliver,
    report::{Report, Row},
    run::{Load, Measured},
};

/// Measures segment-source on this machine, generator included.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// Seconds of each measurement: 1 to 60.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Connections: 1 to 1,024.
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Events per second of the open loop; default: half of what the closed loop reached.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    rate: Option<u64>,
    /// Bytes of an event: 400 to 16,384.
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u32).range(400..=16_384))]
    size: u32,
    /// Folder for the store; it should be on a real disk. Default: the build's target folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Measures delivery instead, to these kinds of destinations or with these faults.
    #[arg(long, value_enum, value_delimiter = ',')]
    deliver: Vec<Deliver>,
    /// Measures two variants in turns instead.
    #[arg(long, value_enum, conflicts_with = "deliver")]
    compare: Option<Compare>,
    /// Keeps the store in a Redis that syncs so often, instead of in a folder.
    #[arg(long, value_enum, conflicts_with = "deliver")]
    redis: Option<Fsync>,
    /// With `--deliver` or `--compare`: how often each measurement is repeated, in turns with the others.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// With `--deliver`: `delivery.concurrency` of the source.
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: u32,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[arg(skip = Instant::now())]
    epoch: Instant,
}

/// How often a Redis syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fsync {
    /// Before it answers.
    Always,
    /// Every second.
    Everysec,
}

impl Args {
    /// A closed loop of events for a source.
    fn load(&self, address: SocketAddr, source: &'static str) -> Load {
        Load {
            address,
            source,
            sources: None,
            batch: 1,
            connections: self.connections,
            seconds: self.seconds,
            size: self.size as usize,
            rate: None,
            users: event::USERS,
            most: u64::MAX,
            epoch: self.epoch,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // One thread: the generator leaves the other cores to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = runtime.block_on(measure(&args))?;
    report.print(args.json)?;
    anyhow::ensure!(report.errors() == 0, "{} requests were not accepted", report.errors());
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<Report> {
    let folder = args.folder.clone().unwrap_or_else(|| root().join("target"));
    std::fs::create_dir_all(&folder)?;
    if !args.deliver.is_empty() {
        let mut report = Report::of_deliveries(args);
        deliver::run(&folder, args, &mut report).await?;
        return Ok(report);
    }
    let redis = match args.redis {
        None => None,
        Some(fsync) => Some(start_redis(fsync).await?),
    };
    let site = Site::inside(&folder);
    if let Some(compare) = args.compare {
        return compare::run(compare, &site, redis.as_ref(), args).await;
    }
    let mapping = json!({"mappings": [{
        "name": "orders",
        "eventType": format!("track/{}", event::NAME),
        "action": {"workflowsTrigger": {
            "workflow": "order-completed",
            "recipients": {"path": "body.userId"},
            "data": {"path": "body.properties"},
        }},
    }]});
    let sources = [signing_secret(), source("plain", json!({})), source("mapped", mapping)];
    site.write("all.yaml", &sources);
    let before = Instant::now();
    let mut server = launch(&site, redis.as_ref()).start().await;
    let ready = before.elapsed();
    // Whatever start-up does afterwards.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut report = Report::new(ready, memory(server.pid()).0, args);

    let load =
        |source: &'static str, rate: Option<u64>| Load { rate, ..args.load(server.http, source) };
    let (one, plain, mapped) =
        (Load { connections: 1, ..load("plain", None) }, load("plain", None), load("mapped", None));
    report.add(measured("accept, 1 connection", &server, run::run(one)).await?);
    let closed = measured("accept, closed loop", &server, run::run(plain)).await?;
    let rate = args.rate.unwrap_or((closed.per_second / 2.0) as u64).max(1);
    report.add(closed);
    let open = load("plain", Some(rate));
    report.add(measured(&format!("accept, open loop {rate}/s"), &server, run::run(open)).await?);
    report.add(measured("accept + plan, closed loop", &server, run::run(mapped)).await?);
    let consume = consume::run(&server, "mapped", args.seconds, None);
    report.add(measured("actions: consume + ack", &server, consume).await?);
    report.peak_memory = memory(server.pid()).1;
    server.terminate();
    report.clean_exit = server.ended().await.success();
    Ok(report)
}

/// It does not write its file anew meanwhile, which depends on how much there was before.
async fn start_redis(fsync: Fsync) -> anyhow::Result<Redis> {
    anyhow::ensure!(
        program().is_some(),
        "there is no redis-server; `tests/tools/redis` brings one, and tests/bench calls it"
    );
    let fsync = match fsync {
        Fsync::Always => "always",
        Fsync::Everysec => "everysec",
    };
    let setup = Setup { fsync: Some(fsync), ..Setup::default() };
    Ok(Redis::start(setup.with("auto-aof-rewrite-min-size", "64gb")).await)
}

fn launch(site: &Site, redis: Option<&Redis>) -> Launch {
    let launch = match redis {
        None => site.launch(),
        Some(redis) => site.launch_on(&redis.url()),
    };
    launch.flag("log", "warn,segment_source=info")
}

/// Runs a load and adds what it cost the server.
async fn measured(
    name: &str,
    server: &Server,
    load: impl Future<Output = anyhow::Result<Measured>>,
) -> anyhow::Result<Row> {
    let pid = server.pid();
    let cpu = cpu_micros(pid);
    let measured = load.await?;
    Ok(Row::new(name, measured, cpu_micros(pid) - cpu, memory(pid).0))
}
