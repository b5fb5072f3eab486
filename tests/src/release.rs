//! segment-source on a whole cluster: its image, installed by Helm as people install it, and what
//! its Services and Secrets are.

use std::{
    collections::BTreeMap, fmt::Write as _, io::Write as _, net::SocketAddr, path::PathBuf,
    process::Stdio, time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    kube::{cluster::Cluster, netns::Forward},
    manifest,
    prober::{Prober, Sent},
    process::{root, script},
    remote::Remote,
};

/// The values of `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One pod does everything.
    Single,
    /// Pods that receive, and one that stores.
    Distributed,
}

/// Name of the release, and of what the chart makes.
pub const NAME: &str = "segment-source";

impl Mode {
    /// As the chart calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Distributed => "distributed",
        }
    }

    /// The StatefulSet of the pod that has the store on a volume.
    #[must_use]
    pub fn store(self) -> &'static str {
        match self {
            Self::Single => NAME,
            Self::Distributed => "segment-source-ingest",
        }
    }
}

/// A release in a namespace of its own, in which Pod Security is `restricted`.
#[derive(Debug)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    mode: Mode,
    /// Of the release, and of the sources that it watches.
    pub namespace: String,
}

/// The archive of an image: `current`, or `older` (schema level 2). Built when its sources have
/// changed, which takes minutes; `tests/run cluster` does that before.
///
/// # Panics
/// When it cannot be built.
pub async fn image(which: &str) -> PathBuf {
    let mut command = Command::from(script("tests/tools/image"));
    command.arg(which).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.expect("tests/tools/image runs");
    assert!(output.status.success(), "tests/tools/image {which}: {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    PathBuf::from(said.lines().last().expect("it says where the archive is"))
}

/// Says how long something took, past the captured output.
pub fn timing(what: &str, since: Instant) {
    _ = writeln!(std::io::stderr(), "TIMING: {what}: {:.1} s", since.elapsed().as_secs_f64());
}

/// The shared cluster with the image and the definition, which releases have in common there.
///
/// # Panics
/// When something of it does not work.
pub async fn shared() -> Option<&'static Cluster> {
    static PREPARED: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::shared().await?;
    let prepare = || async {
        cluster.import_image(&image("current").await).await;
        let chart = root().join("charts/segment-source-crds").display().to_string();
        let install =
            ["install", "segment-source-crds", &chart, "--namespace", "default", "--wait"];
        cluster.helm(&install).await.exits(0);
    };
    PREPARED.get_or_init(prepare).await;
    Some(cluster)
}

/// Makes a namespace of this name, in which Pod Security is `restricted`.
///
/// # Panics
/// When that fails.
pub async fn restricted(cluster: &Cluster, namespace: &str) {
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", namespace, label], "").await.exits(0);
}

impl<'a> Release<'a> {
    /// The namespace and the volume; nothing is installed yet.
    pub async fn new(cluster: &'a Cluster, mode: Mode) -> Self {
        let release = Self::without_volume(cluster, mode).await;
        cluster.persistent_volume("10Gi").await;
        release
    }

    /// The namespace, for events that are kept in a Redis.
    pub async fn without_volume(cluster: &'a Cluster, mode: Mode) -> Self {
        let namespace = cluster.namespace(mode.name()).await;
        restricted(cluster, &namespace).await;
        Self { cluster, mode, namespace }
    }

    /// Its mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// `helm install --wait` with these `--set` values.
    ///
    /// # Panics
    /// With what the pods say, when they do not get ready.
    pub async fn install(&self, values: &[&str]) {
        let chart = root().join("charts/segment-source").display().to_string();
        let mode = format!("mode={}", self.mode.name());
        let values = [&[mode.as_str(), "crds.install=false"], values].concat();
        self.helm(&["install", NAME, &chart], &values).await;
    }

    /// `helm upgrade --wait`, as the documentation says it.
    ///
    /// # Panics
    /// With what the pods say, when they do not get ready.
    pub async fn upgrade(&self, values: &[&str]) {
        let chart = root().join("charts/segment-source").display().to_string();
        self.helm(&["upgrade", NAME, &chart, "--reset-then-reuse-values"], values).await;
    }

    /// `helm uninstall`, until the pods are gone.
    ///
    /// # Panics
    /// When that fails.
    pub async fn uninstall(&self) {
        self.cluster
            .helm(&["uninstall", NAME, "--namespace", &self.namespace, "--wait"])
            .await
            .exits(0);
        let gone = ["wait", "--for=delete", "pods", "--all", "--timeout=90s"];
        self.kubectl(&gone).await;
    }

    async fn helm(&self, command: &[&str], values: &[&str]) {
        let since = Instant::now();
        let rest = ["--namespace", &self.namespace, "--wait", "--timeout", "150s"];
        let mut arguments = [command, &rest].concat();
        for value in values {
            arguments.extend(["--set", value]);
        }
        let done = self.cluster.helm(&arguments).await;
        if done.code != Some(0) {
            let said = done.said();
            panic!("helm {}: {said}\n{}", arguments.join(" "), self.situation().await);
        }
        timing(&format!("helm {} --wait, mode {}", command[0], self.mode.name()), since);
    }

    /// kubectl in the release's namespace; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "").await
    }

    /// The same with this text on standard input.
    ///
    /// # Panics
    /// With what the pods say, when it fails.
    pub async fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> String {
        let all = [&["--namespace", &self.namespace], arguments].concat();
        let done = self.cluster.kubectl(&all, stdin).await;
        if done.code != Some(0) {
            let said = done.said();
            panic!("kubectl {}: {said}\n{}", all.join(" "), self.situation().await);
        }
        done.out
    }

    /// What people would look at when something is wrong.
    async fn situation(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &["get", "pods,segmentsources", "--output", "wide"][..],
            &["describe", "pods,segmentsources"],
            &["logs", "--selector=app.kubernetes.io/name=segment-source", "--prefix", "--tail=40"],
        ] {
            let all = [&["--namespace", &self.namespace], arguments].concat();
            let said = self.cluster.kubectl(&all, "").await.said();
            _ = writeln!(text, "{}:\n{said}", arguments.join(" "));
        }
        text
    }

    /// Applies a manifest, in the release's namespace whatever it says itself.
    pub async fn apply(&self, mut manifest: Value) {
        manifest["metadata"]["namespace"] = json!(self.namespace);
        self.kubectl_with(&["apply", "--filename", "-"], &manifest.to_string()).await;
    }

    /// Applies a Secret with these keys.
    pub async fn apply_secret(&self, name: &str, keys: &[(&str, &str)]) {
        let mut secret = manifest::secret(name, keys[0].0, keys[0].1);
        for (key, value) in keys {
            secret["stringData"][key] = json!(value);
        }
        self.apply(secret).await;
    }

    /// Waits until a source has this condition.
    pub async fn until(&self, source: &str, condition: &str) {
        let source = format!("segmentsource/{source}");
        self.kubectl(&["wait", &format!("--for={condition}"), &source, "--timeout=60s"]).await;
    }

    /// Waits until every pod of a workload (`statefulset/NAME`, `deployment/NAME`) is new and ready.
    pub async fn until_rolled_out(&self, workload: &str) {
        self.kubectl(&["rollout", "status", workload, "--timeout=120s"]).await;
    }

    /// Names of the pods of a component that are not being deleted.
    ///
    /// # Panics
    /// When kubectl does not speak JSON.
    pub async fn pods(&self, component: &str) -> Vec<String> {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        let said = self.kubectl(&["get", "pods", &selector, "--output", "json"]).await;
        let list: Value = serde_json::from_str(&said).expect("JSON");
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let live = pods.iter().map(|pod| &pod["metadata"]);
        let live = live.filter(|it| it["deletionTimestamp"].is_null());
        live.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
    }

    /// Kills the container of a pod, and waits until it was started again and is ready.
    pub async fn kill_container(&self, pod: &str) {
        let path = "--output=jsonpath={.status.containerStatuses[0].restartCount}";
        let restarts = self.kubectl(&["get", "pod", pod, path]).await;
        let restarts: u32 = restarts.parse().unwrap_or_else(|_| panic!("{restarts} is no number"));
        let since = Instant::now();
        let container = if pod.contains("operator") { "operator" } else { NAME };
        self.cluster.kill_container(&self.namespace, pod, container).await;
        let count = format!(
            "--for=jsonpath={{.status.containerStatuses[0].restartCount}}={}",
            restarts + 1
        );
        let name = format!("pod/{pod}");
        self.kubectl(&["wait", &count, &name, "--timeout=60s"]).await;
        self.kubectl(&["wait", "--for=condition=Ready", &name, "--timeout=60s"]).await;
        timing(&format!("container of {pod} killed until it is ready again"), since);
    }

    /// Deletes a pod without waiting for its end, and waits until its workload is complete again.
    pub async fn kill_pod(&self, pod: &str, workload: &str) {
        let uid = self.kubectl(&["get", "pod", pod, "--output=jsonpath={.metadata.uid}"]).await;
        let since = Instant::now();
        self.kubectl(&["delete", "pod", pod, "--force", "--grace-period=0", "--wait=false"]).await;
        // Of a StatefulSet, the next pod has the same name.
        crate::wait::eventually("the pod is gone", || async {
            let get =
                ["get", "pod", pod, "--ignore-not-found", "--output=jsonpath={.metadata.uid}"];
            (self.kubectl(&get).await != uid).then_some(())
        })
        .await;
        self.until_rolled_out(workload).await;
        timing(&format!("pod {pod} deleted by force until {workload} is complete again"), since);
    }

    /// Where webhooks go, through the Service.
    pub async fn http(&self) -> Forward {
        self.cluster.forward_service(&self.namespace, NAME, 80).await
    }

    /// An address on this side that leads to one of the cluster.
    pub async fn forward(&self, target: SocketAddr) -> Forward {
        self.cluster.forward(target).await
    }

    /// gRPC through the Service, over TLS, as whoever has this token.
    pub async fn grpc(&self, token: &str) -> Remote {
        let forward =
            self.cluster.forward_service(&self.namespace, "segment-source-grpc", 9090).await;
        let secret = match self.mode {
            Mode::Single => "segment-source-tls",
            Mode::Distributed => "segment-source-ingest-tls",
        };
        let ca = self.secret(secret, "ca.crt").await;
        Remote::new(forward, &ca, token)
    }

    /// Ends a prober, and checks that each event that was accepted is in the log and made its
    /// action, once.
    ///
    /// # Panics
    /// When one is lost or doubled.
    pub async fn nothing_lost_or_doubled(&self, prober: Prober, source: &str) {
        let sent = prober.stop().await;
        _ = writeln!(
            std::io::stderr(),
            "PROBER: {} events accepted, answers {:?}, {} times none, the longest wait {:.1} s, \
             mode {}",
            sent.accepted.len(),
            sent.answers,
            sent.unanswered,
            sent.longest.as_secs_f64(),
            self.mode.name(),
        );
        let remote = self.each_in_the_log_once(&sent, source).await;
        let source = (self.namespace.as_str(), source);
        let mut actions: BTreeMap<String, usize> = BTreeMap::new();
        for action in remote.drain(source).await {
            let payload: Value =
                serde_json::from_slice(&action.payload_json).expect("a payload is JSON");
            let user = payload["recipients"][0].as_str().expect("the user");
            *actions.entry(user.to_owned()).or_default() += 1;
        }
        let wrong: Vec<_> =
            sent.accepted.iter().filter(|id| actions.get(*id) != Some(&1)).collect();
        assert!(wrong.is_empty(), "{} events without one action each: {wrong:?}", wrong.len());
        assert_eq!(actions.len(), sent.accepted.len(), "actions of events that nobody sent");
    }

    /// Checks that each event that was accepted is in the log, once. Who asked for it.
    ///
    /// # Panics
    /// When one is lost or doubled.
    pub async fn each_in_the_log_once(&self, sent: &Sent, source: &str) -> Remote {
        let remote = self.grpc(&self.platform_token().await).await;
        let accepted = remote.accepted((self.namespace.as_str(), source)).await;
        let lost: Vec<_> = sent.accepted.iter().filter(|id| !accepted.contains_key(*id)).collect();
        assert!(lost.is_empty(), "of {} events {} are lost", sent.accepted.len(), lost.len());
        let doubled: Vec<_> = accepted.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "accepted twice: {doubled:?}");
        remote
    }

    /// The token of whoever runs the program.
    ///
    /// # Panics
    /// When it is no text.
    pub async fn platform_token(&self) -> String {
        let token = self.secret("segment-source-platform-token", "token").await;
        String::from_utf8(token).expect("a token is text")
    }

    /// A value of a Secret.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn secret(&self, name: &str, key: &str) -> Vec<u8> {
        let said = self.kubectl(&["get", "secret", name, "--output", "json"]).await;
        let secret: Value = serde_json::from_str(&said).expect("JSON");
        let value = secret["data"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        STANDARD.decode(value).expect("Secrets are base64")
    }
}
