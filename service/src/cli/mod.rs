//! The commands, one file each, and what they share: talking to a server and printing.

pub mod actions;
pub(crate) mod client;
pub mod demo;
pub mod destinations;
pub mod directory;
pub mod doctor;
pub mod erase_user;
pub mod events;
pub mod explain;
pub(crate) mod local;
pub(crate) mod moment;
pub(crate) mod print;
pub mod rehearse;
pub mod replay;
pub mod send;
pub(crate) mod spinner;
pub(crate) mod typed;
pub mod validate;
pub(crate) mod view;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;

use crate::{
    args::{Command, Output},
    serve,
};

/// Runs a command; the exit code says whether what it found is good.
///
/// # Errors
/// When it could not be done; the message says what to do next.
pub async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args, output).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Validate(args) => validate::run(&args, output),
        Command::Rehearse(args) => rehearse::run(args, output).await,
        Command::Send(args) => send::run(args, output).await,
        Command::Events(command) => events::run(command, output).await,
        Command::Explain(args) => explain::run(args, output).await,
        Command::Actions(command) => actions::run(command, output).await,
        Command::Destinations(command) => destinations::run(command, output).await,
        Command::Replay(args) => replay::run(args, output).await,
        Command::EraseUser(args) => erase_user::run(args, output).await,
        Command::Directory(command) => directory::run(command, output).await,
    }
}

/// Tells why a command could not be done, on standard error.
#[must_use]
pub fn report(error: &anyhow::Error, output: Output) -> ExitCode {
    // `events list | head` closes the pipe; nobody is left to tell.
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        return ExitCode::SUCCESS;
    }
    let text = match output {
        Output::Text => format!("error: {error:#}"),
        Output::Json => json!({"error": format!("{error:#}")}).to_string(),
    };
    // When standard error is gone as well, the exit code has to do.
    let _ = writeln!(io::stderr().lock(), "{text}");
    ExitCode::FAILURE
}
