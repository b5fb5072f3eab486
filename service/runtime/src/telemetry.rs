//! Logging. Lines go to standard error, so that standard output belongs to the commands.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Heading of the flags that every command has, so that they do not hide its own.
pub const ANY_COMMAND: &str = "Options of every command";

/// What is logged, and how. Logs go to standard error.
#[derive(Clone, Debug, ClapArgs)]
pub struct Log {
    /// Log filter, such as `info`, `debug` or `info,segment_source_edge=debug`. Default: `info`
    /// for `serve`, `warn` for the other commands.
    #[arg(
        long = "log",
        value_name = "FILTER",
        global = true,
        help_heading = ANY_COMMAND,
        env = "SEGMENT_SOURCE_LOG"
    )]
    pub filter: Option<String>,
    /// Form of log lines.
    #[arg(
        long = "log-format",
        value_enum,
        global = true,
        help_heading = ANY_COMMAND,
        default_value = "text",
        env = "SEGMENT_SOURCE_LOG_FORMAT"
    )]
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process; call it once, first.
///
/// # Errors
/// When the filter is none, or logging was started before.
pub fn init(log: &Log, default_filter: &str) -> anyhow::Result<()> {
    let filter = log.filter.as_deref().unwrap_or(default_filter);
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("--log `{filter}` is no log filter, such as `info` or `info,segment_source=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(stderr().is_terminal()).finish();
            lines.with(filter_fn(feeds_nothing)).try_init()
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).finish();
            lines.with(filter_fn(feeds_nothing)).try_init()
        }
    }
    .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// Watching a folder says at trace level whatever happens in it. Into a log that lies beside the
/// configuration each such line would cause the next, until the disk is full.
fn feeds_nothing(what: &Metadata<'_>) -> bool {
    *what.level() < Level::TRACE || !what.target().starts_with("notify")
}
