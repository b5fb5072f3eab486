//! The life of a process: it starts, works until a signal or until one of its tasks fails, and ends
//! every task in order. What it does is for the tasks.

use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::{health::Readiness, signals::Signals, tasks::Tasks};

/// A process that works.
#[derive(Debug)]
pub struct Process<S> {
    /// What it does.
    pub tasks: Tasks<S>,
    /// What is missing until it can do all of it.
    pub readiness: Readiness,
    /// How long its end may take at the most.
    pub drain: Duration,
}

/// Starts a process and works until a signal; the log says why when it cannot.
///
/// # Errors
/// When the system refuses signal handlers.
pub async fn run<S: Copy + Ord>(
    start: impl Future<Output = anyhow::Result<Process<S>>>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot handle signals")?;
    let started = tokio::select! {
        started = start => started,
        signal = signals.next() => {
            info!(signal, "ended before everything was started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let worked = match started {
        Ok(process) => process.until_signal(signals).await,
        Err(error) => Err(error),
    };
    Ok(match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

impl<S: Copy + Ord> Process<S> {
    /// Works until a signal or until a task fails, then ends in order.
    ///
    /// # Errors
    /// When a task failed; the others have ended in order then, too.
    pub async fn until_signal(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let failure = tokio::select! {
            signal = signals.next() => {
                info!(signal, "stopping; a second signal ends at once");
                None
            }
            error = self.tasks.failed() => Some(error),
        };
        self.stop(&mut signals).await;
        failure.map_or(Ok(()), Err)
    }

    /// Ends every task in order, within the bound; at once when another signal comes.
    pub async fn stop(mut self, signals: &mut Signals) {
        // Held to the end: ready never comes back.
        let _draining = self.readiness.latch("draining");
        tokio::select! {
            () = self.tasks.stop(self.drain) => info!("stopped"),
            signal = signals.next_after_echo() => {
                warn!(signal, "ended at once");
                std::process::exit(130);
            }
        }
    }
}
