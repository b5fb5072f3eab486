//! Signals that ask the process to end.

use std::{future::ready, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// Some senders (`timeout`, some supervisors) signal a process and its group: one request to end
/// then arrives twice.
const ECHO: Duration = Duration::from_millis(100);

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits for one that is not the echo of one that came just now.
    pub async fn next_after_echo(&mut self) -> &'static str {
        sleep(ECHO).await;
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            () = ready(()) => {}
        }
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            () = ready(()) => {}
        }
        self.next().await
    }
}
