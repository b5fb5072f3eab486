//! Measures what the store in Redis takes: bytes for each key, log entry and action, and time of
//! Redis's processor for each step. What it makes of a number of events a second is docs/sizing.md's.
//! Servers are its own, on a socket in a folder of its own.

mod measure;
mod report;

use std::path::PathBuf;

use clap::Parser;

/// Measures what the store in Redis takes.
#[derive(Debug, Parser)]
#[command(name = "sizing")]
struct Args {
    /// How many keys: 10,000 to 20,000,000.
    #[arg(long, default_value = "2000000",
          value_parser = clap::value_parser!(u64).range(10_000..=20_000_000))]
    keys: u64,
    /// How many log entries and actions: 1,000 to 1,000,000.
    #[arg(long, default_value = "100000",
          value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    events: u64,
    /// Also writes the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sizes = runtime.block_on(measure::all(args.keys, args.events))?;
    report::print(&sizes)?;
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_string_pretty(&sizes)? + "\n")?;
    }
    Ok(())
}
