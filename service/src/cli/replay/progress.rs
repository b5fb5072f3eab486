//! How far a replay is, on standard error: a bar on a terminal, else a line now and then.

use std::{
    io::{self, Write, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use segment_source_proto::admin::v1::ReplayResponse;

use super::{Args, words};
use crate::{args::Output, cli::spinner::spinner};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) enum Progress {
    Bar(ProgressBar),
    Lines {
        what: &'static str,
        counted: bool,
        told: Instant,
    },
    /// Programs read the report.
    Nothing,
}

impl Progress {
    pub(super) fn new(args: &Args, output: Output) -> Self {
        let bar = spinner();
        if !bar.is_hidden() {
            return Self::Bar(bar);
        }
        match output {
            Output::Json => Self::Nothing,
            Output::Text => {
                Self::Lines { what: words::what(args), counted: false, told: Instant::now() }
            }
        }
    }

    pub(super) fn tell(&mut self, now: &ReplayResponse) -> io::Result<()> {
        let gone_through = now.done + now.skipped;
        match self {
            Self::Bar(bar) if !now.counted => bar.set_message(format!("{} found", now.found)),
            Self::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_style(style());
                    bar.set_length(now.found);
                }
                bar.set_position(gone_through);
            }
            Self::Lines { what, counted, told } => {
                let line = match (now.counted, *counted) {
                    (true, false) => format!("{} {what} found", now.found),
                    _ if told.elapsed() < PAUSE || now.complete => return Ok(()),
                    (false, _) => format!("{} {what} found so far", now.found),
                    (true, true) => format!("{gone_through} of {} gone through", now.found),
                };
                (*counted, *told) = (now.counted, Instant::now());
                writeln!(stderr().lock(), "{line}")?;
            }
            Self::Nothing => {}
        }
        Ok(())
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {pos}/{len}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
