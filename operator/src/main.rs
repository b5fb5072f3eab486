//! The binary of the operator: reads the command line, starts the log, runs. [`run`] puts the parts
//! together; the folder's listing is the way of a manifest: `watch`, `dereference`, `compile`,
//! `table` (publish) and `serve`, `revision` (record), `status` and `report`.

mod args;
mod certificates;
mod compile;
mod definition;
mod dereference;
mod dirty;
mod disputes;
mod index;
mod lease;
mod lock;
mod memory;
mod metrics;
mod name;
mod pauses;
mod reconcile;
mod report;
mod revision;
mod run;
mod serve;
mod status;
mod table;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use segment_source_runtime::telemetry;
use tracing::error;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = args::Args::parse();
    telemetry::init(&args.log, "info,kube=warn")?;
    // The Kubernetes client asks for the process's default.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        error!("TLS was set up twice");
    }
    Box::pin(run::run(args)).await
}
