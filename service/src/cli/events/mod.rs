//! `events`: the log of a running server.

mod list;
mod show;
mod tail;

use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use super::{client::Server, print, view::EventView};
use crate::args::Output;

/// What to read of the log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Events of a source, newest first.
    List(list::List),
    /// Everything known of one event: its actions, notes, headers and body.
    Show(Show),
    /// Events of a source as they come in; Ctrl-C ends it.
    Tail(tail::Tail),
}

/// Flags of `events show`.
#[derive(Debug, ClapArgs)]
pub struct Show {
    #[command(flatten)]
    server: Server,
    /// The event's id, as `events list` prints it.
    #[arg(value_name = "EVENT_ID")]
    event: String,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, or does not know the source or the event.
pub async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list::run(args, output).await,
        Command::Show(args) => show::run(&args.server, args.event, output).await,
        Command::Tail(args) => tail::run(args, output).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The columns of a listing.
const HEADER: [&str; 7] =
    ["ACCEPTED", "EVENT ID", "EVENT TYPE", "KEY", "USER", "OUTCOME", "ACTIONS"];

fn row(event: &EventView) -> Vec<String> {
    vec![
        event.accepted.clone(),
        event.event_id.clone(),
        print::shorten(&event.event_type, 40),
        print::shorten(&event.key, 40),
        print::shorten(&event.order_key, 40),
        event.outcome.clone(),
        event.actions.to_string(),
    ]
}
