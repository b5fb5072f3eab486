//! The binary: reads the command line, starts the log, runs the command. Everything else is in the
//! library.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use mimalloc::MiMalloc;
use segment_source::{args::Args, cli};
use segment_source_runtime::telemetry;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long threads that wait for the file system may take to end, once all is done.
const LAST_THREADS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = telemetry::init(&args.log, args.command.default_log_filter()) {
        return cli::report(&error, args.output);
    }
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return cli::report(&error.into(), args.output),
    };
    let code = match runtime.block_on(cli::run(args.command, args.output)) {
        Ok(code) => code,
        Err(error) => cli::report(&error, args.output),
    };
    // Dropping it would wait for as long as a thread is stuck in a read.
    runtime.shutdown_timeout(LAST_THREADS);
    code
}
