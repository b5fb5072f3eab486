//! `doctor`: whether the store is set up so that it keeps what it is given. What to look at is in
//! `folder` and, for a Redis, in the store's own check; how it is told is in `report`.

mod folder;
mod redis;
mod report;

use std::process::ExitCode;

use segment_source_store::redis::target::StoreAt;
use tokio::task::spawn_blocking;

use crate::args::{Output, store::StoreArgs};

/// Looks at the store as `serve` would use it, and changes nothing. Give it the same flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints what is wrong and what to change. Exit code 1 when something is an error.
///
/// # Errors
/// When the flags do not fit, or it cannot be printed.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let store = spawn_blocking(move || args.store.resolve()).await??;
    let report = match &store {
        StoreAt::Folder(folder) => folder::look(folder).await?,
        StoreAt::Redis(target) => redis::look(target).await,
    };
    report.print(output)?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
