//! The running operator: started with free ports against an API server, asked over its admin
//! listener, stopped and continued, ended with the test.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    http::{Connection, Reply, Request},
    process::beside,
    running::Running,
    wait::eventually,
};

/// How the operator is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    kubeconfig: PathBuf,
    arguments: Vec<String>,
}

impl Launch {
    /// Adds `--flag value`; a flag may be given several times.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{flag}"), value.to_owned()]);
        self
    }

    /// Changes the value of a flag that [`Operator::launch`] gives.
    ///
    /// # Panics
    /// When it does not give that flag.
    #[must_use]
    pub fn instead(mut self, flag: &str, value: &str) -> Self {
        let flag = format!("--{flag}");
        let at = self.arguments.iter().position(|it| *it == flag).expect("the flag is given");
        value.clone_into(&mut self.arguments[at + 1]);
        self
    }

    /// The command, for tests in which it must refuse to start.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(beside("segment-source-operator"));
        command.args(&self.arguments).env("KUBECONFIG", &self.kubeconfig);
        for name in ["POD_NAME", "POD_NAMESPACE"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts it and waits until it listens; it may be ready later.
    ///
    /// # Panics
    /// With its log, when it does not come up.
    pub async fn start(self) -> Operator {
        let mut running = Running::start(self.command());
        let [grpc, admin] = running.said("where it listens", addresses).await;
        Operator { running, grpc, admin }
    }

    /// Starts it and waits until `/ready` says yes.
    pub async fn ready(self) -> Operator {
        let mut operator = self.start().await;
        operator.until_ready().await;
        operator
    }
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    running: Running,
    /// Where replicas connect.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Operator {
    /// One that works in this namespace, by this kubeconfig, without TLS.
    #[must_use]
    pub fn launch(kubeconfig: &Path, namespace: &str) -> Launch {
        let launch = Launch { kubeconfig: kubeconfig.to_owned(), arguments: Vec::new() };
        launch
            .flag("namespace", namespace)
            .flag("grpc", "127.0.0.1:0")
            .flag("admin", "127.0.0.1:0")
            .flag("log-format", "json")
            .flag("log", "info,kube=warn,segment_source_operator=debug")
    }

    /// What `serve --config` is told.
    #[must_use]
    pub fn config(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Waits until `/ready` says yes.
    ///
    /// # Panics
    /// With its log, when it does not.
    pub async fn until_ready(&mut self) {
        let end = std::time::Instant::now() + crate::wait::PATIENCE;
        while !self.is_ready().await {
            assert!(self.exited().is_none(), "it ended before it was ready:\n{}", self.log());
            assert!(std::time::Instant::now() < end, "it is never ready:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    }

    /// Whether `/ready` says yes.
    pub async fn is_ready(&self) -> bool {
        matches!(self.get("/ready").await, Some(reply) if reply.status == 200)
    }

    /// GET on the admin listener; `None` when it does not answer.
    pub async fn get(&self, target: &str) -> Option<Reply> {
        let mut connection = Connection::open(self.admin).await.ok()?;
        connection.call(&Request::new("GET", target)).await.ok()
    }

    /// A metric without labels, or with these (as they are printed, in braces).
    ///
    /// # Panics
    /// When the page does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> f64 {
        self.find_metric(name).await.unwrap_or_else(|page| panic!("no {name} in:\n{page}"))
    }

    /// The same; 0 when there is no such metric, as with labels that never occurred.
    ///
    /// # Panics
    /// When the page does not answer.
    pub async fn metric_or_zero(&self, name: &str) -> f64 {
        self.find_metric(name).await.unwrap_or_default()
    }

    async fn find_metric(&self, name: &str) -> Result<f64, String> {
        let page = self.get("/metrics").await.expect("the metrics answer").text();
        let name = format!("segment_source_operator_{name}");
        let found = page.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '));
        found.map(|it| it.parse().expect("a number")).ok_or(page)
    }

    /// Waits until it leads.
    pub async fn until_leading(&self) {
        eventually("it leads", || async { (self.metric("leading").await > 0.0).then_some(()) })
            .await;
    }
}

impl Deref for Operator {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Operator {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// The bound addresses, from the log event that says where it listens.
fn addresses(line: &str) -> Option<[SocketAddr; 2]> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    Some([address("grpc")?, address("admin")?])
}
