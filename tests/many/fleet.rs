//! The processes that are measured: one operator and its replicas, and when they are how far.

use std::time::{Duration, Instant};

use segment_source_tests::{
    operator::{Launch, Operator},
    process::{memory, root},
    server::Server,
    site::Site,
    sources::Sources,
};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked whether it has come; so exact are times.
const PAUSE: Duration = Duration::from_millis(50);

/// An operator and its replicas.
pub(crate) struct Fleet {
    operator: Operator,
    pub(crate) replicas: Vec<Server>,
    /// Where the replicas' stores are; on a real disk.
    _sites: Vec<Site>,
    started: Instant,
}

impl Fleet {
    /// Starts the operator and, as soon as it listens, the replicas.
    pub(crate) async fn start(sources: &Sources<'_>, replicas: usize) -> Self {
        let started = Instant::now();
        let operator = operator(sources).start().await;
        let sites: Vec<_> = (0..replicas).map(|_| Site::inside(&root().join("target"))).collect();
        let mut all = Vec::new();
        for (number, site) in sites.iter().enumerate() {
            let launch = site.launch().flag("config", &operator.config()).unready();
            let launch = launch.flag("replica", &format!("replica-{number}"));
            all.push(launch.sources_of(&sources.namespace).start().await);
        }
        Self { operator, replicas: all, _sites: sites, started }
    }

    /// Ends the operator as Kubernetes does, and starts one at the same address.
    pub(crate) async fn restart_operator(&mut self, sources: &Sources<'_>) {
        self.operator.terminate();
        self.operator.ended().await;
        self.started = Instant::now();
        let grpc = self.operator.grpc.to_string();
        self.operator = operator(sources).instead("grpc", &grpc).start().await;
    }

    /// Waits until every replica has been told everything `times` times, by its log, and says that
    /// it is ready; how long that was after the operator's start.
    pub(crate) async fn until_synced(&mut self, times: usize) -> anyhow::Result<Duration> {
        self.until("every replica is synced", async |fleet| {
            for replica in &fleet.replicas {
                let told = replica.log().matches("everything was told by the operator").count();
                let ready = replica.get("/ready").await.is_some_and(|it| it.status == 200);
                if told < times || !ready {
                    return false;
                }
            }
            true
        })
        .await
    }

    /// Waits until the operator counts so many sources as ready; as above.
    pub(crate) async fn until_ready(&mut self, sources: usize) -> anyhow::Result<Duration> {
        self.until("every source is ready", async |fleet| {
            let page = fleet.operator.get("/metrics").await.map(|it| it.text()).unwrap_or_default();
            let name = "segment_source_operator_sources{state=\"ready\"} ";
            let ready = page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
            ready.unwrap_or(0) == sources
        })
        .await
    }

    async fn until<F: AsyncFnMut(&Self) -> bool>(
        &mut self,
        what: &str,
        mut done: F,
    ) -> anyhow::Result<Duration> {
        while !done(self).await {
            anyhow::ensure!(self.started.elapsed() < PATIENCE, "waited in vain: {what}");
            let ended = self.replicas.iter_mut().any(|it| it.exited().is_some());
            anyhow::ensure!(!ended && self.operator.exited().is_none(), "a process ended");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self.started.elapsed())
    }

    /// Bytes in RAM now, and the most there ever were: of the operator, and of the largest replica.
    pub(crate) fn memory(&self) -> [(u64, u64); 2] {
        let replicas = self.replicas.iter().map(|it| memory(it.pid()));
        [memory(self.operator.pid()), replicas.max().unwrap_or_default()]
    }
}

/// With the log that charts set.
fn operator(sources: &Sources<'_>) -> Launch {
    sources.operator("measured").instead("log", "info,kube=warn")
}
