//! The long-running tasks of a process: each has a name, is watched, and is stopped in the order of
//! the process's own stages. What the stages are is for the process to say.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    time::Duration,
};

use anyhow::anyhow;
use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// The running tasks. `S` names what ends together; stages end in their order.
#[derive(Debug)]
pub struct Tasks<S> {
    running: JoinSet<anyhow::Result<()>>,
    known: HashMap<Id, Task<S>>,
    stops: BTreeMap<S, CancellationToken>,
}

#[derive(Debug)]
struct Task<S> {
    name: &'static str,
    stage: S,
    handle: AbortHandle,
}

impl<S> Default for Tasks<S> {
    fn default() -> Self {
        Self { running: JoinSet::new(), known: HashMap::new(), stops: BTreeMap::new() }
    }
}

impl<S: Copy + Ord> Tasks<S> {
    /// Cancelled when the stage is to end; its tasks must watch it.
    pub fn stop_of(&mut self, stage: S) -> CancellationToken {
        self.stops.entry(stage).or_default().clone()
    }

    /// Runs a task, which ends when [`Tasks::stop_of`] its stage says so.
    pub fn spawn(
        &mut self,
        stage: S,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.stops.entry(stage).or_default();
        let handle = self.running.spawn(task);
        self.known.insert(handle.id(), Task { name, stage, handle });
    }

    /// Runs a task that has nothing to finish: it is cut off when its stage ends.
    pub fn spawn_endless(
        &mut self,
        stage: S,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop_of(stage);
        self.spawn(stage, name, async move {
            // Before it is stopped none ends, and that is a failure.
            stop.run_until_cancelled_owned(task).await;
            Ok(())
        });
    }

    /// Waits until a task ends, which none should before it is stopped, and says why it did.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.running.join_next_with_id().await {
            Some(ended) => match self.take(ended) {
                (name, Ok(())) => anyhow!("{name} ended by itself"),
                (name, Err(error)) => error.context(format!("{name} failed")),
            },
            None => anyhow!("there is nothing to run"),
        }
    }

    /// Stops one stage after the other and waits for each. A stage may take half of the time that
    /// is left, so that there is always some for the next; what has not ended then is cut off.
    pub async fn stop(&mut self, within: Duration) {
        let end = Instant::now() + within;
        while let Some((stage, stop)) = self.stops.pop_first() {
            stop.cancel();
            let deadline = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
            while self.known.values().any(|task| task.stage == stage) {
                let Ok(Some(ended)) = timeout_at(deadline, self.running.join_next_with_id()).await
                else {
                    self.cut_off(stage);
                    break;
                };
                match self.take(ended) {
                    (name, Ok(())) => debug!(task = name, "stopped"),
                    (name, Err(error)) => error!(task = name, "ended badly: {error:#}"),
                }
            }
        }
        self.running.shutdown().await;
    }

    fn cut_off(&mut self, stage: S) {
        self.known.retain(|_, task| {
            let late = task.stage == stage;
            if late {
                warn!(task = task.name, "did not end in time and is cut off");
                task.handle.abort();
            }
            !late
        });
    }

    fn take(
        &mut self,
        ended: Result<(Id, anyhow::Result<()>), JoinError>,
    ) -> (&'static str, anyhow::Result<()>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(error.into())),
        };
        // One that was cut off may still be reported here.
        (self.known.remove(&id).map_or("a task that was cut off", |task| task.name), result)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use anyhow::bail;

    use super::Tasks;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Stage {
        Edge,
        Planner,
        Store,
    }

    #[tokio::test]
    async fn tasks_end_in_the_order_of_their_stages() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        let stages = [("store", Stage::Store), ("edge", Stage::Edge), ("planner", Stage::Planner)];
        for (name, stage) in stages {
            let (stop, order) = (tasks.stop_of(stage), order.clone());
            tasks.spawn(stage, name, async move {
                stop.cancelled().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        tasks.spawn_endless(Stage::Edge, "endless", std::future::pending());
        tasks.stop(Duration::from_mins(1)).await;
        assert_eq!(*order.lock().unwrap(), ["edge", "planner", "store"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_cut_off_and_the_rest_ends_well() {
        let mut tasks = Tasks::default();
        tasks.spawn(Stage::Edge, "stuck", std::future::pending());
        let stop = tasks.stop_of(Stage::Store);
        let ended = Arc::new(Mutex::new(false));
        let seen = ended.clone();
        tasks.spawn(Stage::Store, "store", async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            *seen.lock().unwrap() = true;
            Ok(())
        });
        tasks.stop(Duration::from_secs(5)).await;
        assert!(*ended.lock().unwrap());
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_a_failure_with_a_name() {
        async fn failure(task: fn() -> anyhow::Result<()>) -> String {
            let mut tasks = Tasks::default();
            tasks.spawn(Stage::Planner, "the planner", async move { task() });
            format!("{:#}", tasks.failed().await)
        }
        assert_eq!(failure(|| Ok(())).await, "the planner ended by itself");
        assert_eq!(failure(|| bail!("disk")).await, "the planner failed: disk");
        assert!(failure(|| panic!("boom")).await.starts_with("the planner failed: task"));
    }
}
