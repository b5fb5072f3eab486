//! The process's long-running parts: each has a name, is watched, and they are stopped in the
//! order in which they were added.

use std::{future::Future, time::Duration};

use anyhow::anyhow;
use futures_util::future::select_all;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// The running parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    running: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<anyhow::Result<()>>,
}

impl Parts {
    /// Runs a part, which must end when `stop` is cancelled.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        stop: &CancellationToken,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.running.push(Part { name, stop: stop.clone(), handle: tokio::spawn(part) });
    }

    /// Runs a part that has nothing to finish: it is cut off when its turn comes.
    pub(crate) fn add_cut_off(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        self.add(name, &stop, async move {
            tokio::select! {
                () = part => Err(anyhow!("it ended by itself")),
                () = stopped => Ok(()),
            }
        });
    }

    /// Waits until a part ends, which none should before it is stopped, and says why it did.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let handles = self.running.iter_mut().map(|part| &mut part.handle);
        let (ended, at, _) = select_all(handles).await;
        let name = self.running.remove(at).name;
        match ended {
            Ok(Ok(())) => anyhow!("{name} ended by itself"),
            Ok(Err(error)) => error.context(format!("{name} failed")),
            Err(error) => anyhow::Error::from(error).context(format!("{name} failed")),
        }
    }

    /// Stops one part after the other and waits for each. One may take half of the time that is
    /// left, so that there is always some for the next; what has not ended then is cut off.
    pub(crate) async fn stop(self, within: Duration) {
        let end = Instant::now() + within;
        for mut part in self.running {
            part.stop.cancel();
            let deadline = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
            match timeout_at(deadline, &mut part.handle).await {
                Ok(Ok(Ok(()))) => debug!(part = part.name, "stopped"),
                Ok(Ok(Err(error))) => error!(part = part.name, "ended badly: {error:#}"),
                Ok(Err(error)) => error!(part = part.name, "ended badly: {error}"),
                Err(_elapsed) => {
                    warn!(part = part.name, "did not end in time and is cut off");
                    part.handle.abort();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use anyhow::bail;
    use tokio_util::sync::CancellationToken;

    use super::Parts;

    #[tokio::test(start_paused = true)]
    async fn parts_end_in_their_order_and_what_is_stuck_is_cut_off() {
        let (mut parts, order) = (Parts::default(), Arc::new(Mutex::new(Vec::new())));
        for name in ["first", "stuck", "last"] {
            let (stop, order) = (CancellationToken::new(), order.clone());
            let stopped = stop.clone();
            parts.add(name, &stop, async move {
                stopped.cancelled().await;
                if name == "stuck" {
                    std::future::pending::<()>().await;
                }
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        parts.add_cut_off("endless", std::future::pending());
        parts.stop(Duration::from_secs(5)).await;
        assert_eq!(*order.lock().unwrap(), ["first", "last"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_a_failure_with_a_name() {
        async fn failure(part: fn() -> anyhow::Result<()>) -> String {
            let mut parts = Parts::default();
            parts.add_cut_off("endless", std::future::pending());
            parts.add("the lease", &CancellationToken::new(), async move { part() });
            format!("{:#}", parts.failed().await)
        }
        assert_eq!(failure(|| Ok(())).await, "the lease ended by itself");
        assert_eq!(failure(|| bail!("disk")).await, "the lease failed: disk");
        assert!(failure(|| panic!("boom")).await.starts_with("the lease failed: task"));
    }
}
