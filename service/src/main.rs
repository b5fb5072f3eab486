//! The binary: reads the command line, starts the log, runs the command. Everything else is in the
//! library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use segment_source::{args::Args, cli, telemetry};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = telemetry::init(&args.log, args.command.default_log_filter()) {
        return cli::report(&error, args.output);
    }
    match cli::run(args.command, args.output).await {
        Ok(code) => code,
        Err(error) => cli::report(&error, args.output),
    }
}
