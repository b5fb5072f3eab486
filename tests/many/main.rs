//! Measures an operator and its replicas with many SegmentSources on a real API server, and fails
//! when what was promised is missed. Every number of sources gets an API server of its own. The
//! processes live in [`fleet`], the sources in [`population`], what is counted in [`requests`] and
//! [`change`], printing in [`report`].

mod change;
mod fleet;
mod population;
mod report;
mod requests;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    sources::Sources,
};
use tokio::time::sleep;

use crate::{change::Change, fleet::Fleet, report::Step, requests::Requests};

/// After something big, before something is measured that should be quiet.
const SETTLE: Duration = Duration::from_secs(5);
/// How long nothing should happen.
const STEADY: Duration = Duration::from_secs(30);
/// Each has both roles.
const REPLICAS: usize = 3;

/// Measures an operator and its replicas with many SegmentSources.
#[derive(Debug, Parser)]
#[command(name = "many")]
struct Args {
    /// How many SegmentSources, one measurement each: 0 to 20,000.
    #[arg(long, value_delimiter = ',', default_value = "0,1000,10000",
          value_parser = clap::value_parser!(u64).range(0..=20_000))]
    sources: Vec<u64>,
    /// Changes of each kind, to a source of its own each: 1 to 1,000.
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u64).range(1..=1000))]
    changes: u64,
    /// Also writes the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // One thread: the other cores are for what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut steps = Vec::new();
    for &count in &args.sources {
        writeln!(io::stderr(), "measuring with {count} sources")?;
        let step = runtime.block_on(measure(&args, usize::try_from(count)?));
        steps.push(step.with_context(|| format!("with {count} sources"))?);
    }
    report::print(&steps)?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&steps)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let missed: Vec<_> = steps.iter().flat_map(Step::missed).collect();
    anyhow::ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

async fn measure(args: &Args, count: usize) -> anyhow::Result<Step> {
    let api = ApiServer::start(Version::Newest).await.context("there is no API server to run")?;
    let sources = &Sources::new(&api, "scale").await;
    let asked = async || Requests::read(&sources.client).await;
    population::create(sources, count).await?;
    sleep(SETTLE).await;

    let before = asked().await?;
    let mut fleet = Fleet::start(sources, REPLICAS).await;
    let synced = fleet.until_synced(1).await?;
    let ready = fleet.until_ready(count).await?;
    let start = asked().await?.since(&before, ready);
    population::all_ready(sources, count).await?;
    sleep(SETTLE).await;

    let before = asked().await?;
    sleep(STEADY).await;
    let steady = asked().await?.since(&before, STEADY);
    let memory = fleet.memory();

    let times = usize::try_from(args.changes)?.min(count / 2);
    let changes = if times == 0 {
        None
    } else {
        let spec = change::measure(sources, &fleet, Change::Spec, count, times).await?;
        Some([spec, change::measure(sources, &fleet, Change::Secret, count, times).await?])
    };
    sleep(SETTLE).await;

    let before = asked().await?;
    fleet.restart_operator(sources).await;
    let restart_synced = fleet.until_synced(2).await?.as_secs_f64();
    let restart_ready = fleet.until_ready(count).await?;
    // What is written late would be missed.
    sleep(SETTLE).await;
    let restart = asked().await?.since(&before, restart_ready + SETTLE);
    Ok(Step {
        sources: count,
        synced: synced.as_secs_f64(),
        ready: ready.as_secs_f64(),
        start,
        steady,
        memory,
        changes,
        restart_synced,
        restart_ready: restart_ready.as_secs_f64(),
        restart,
    })
}
