//! A whole cluster for tests: one node on which pods run, in a network of its own. What is addressed
//! in it is reached through [`Cluster::forward`], [`Cluster::connect`] or [`Cluster::in_netns`].

use std::{
    ffi::OsStr,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use kube::Client;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::OnceCell,
};

use super::{
    api::{bound, namespace, run},
    control::client,
    etcd::{self, Stored},
    keeper::{Facts, Keeper},
    netns::{self, Forward},
    node,
    tools::{skipped, tool},
};
use crate::command::Finished;

/// A running cluster. Dropping it ends it with all that it made; a shared one ends with the test
/// process.
#[derive(Debug)]
pub struct Cluster {
    keeper: Keeper,
    facts: Facts,
    netns: PathBuf,
    volumes: AtomicU32,
    class: OnceCell<()>,
}

impl Cluster {
    /// The one that all tests of this process share, each in a namespace of its own; `None`, after a
    /// line that says so, where it cannot run.
    ///
    /// # Panics
    /// When it does not come up, or cannot run with `CI=true`.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await.as_ref()
    }

    /// One for this test alone.
    ///
    /// # Panics
    /// As [`Cluster::shared`].
    pub async fn start() -> Option<Self> {
        let missing = node::missing();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let reason = format!(
                "a whole cluster needs {missing}; see tests/tools/build, tests/tools/debian"
            );
            _ = skipped(&reason);
            return None;
        }
        let (keeper, facts) = Keeper::start(vec!["whole".to_owned()]).await;
        let pid = fs::read_to_string(facts.folder.join("pid")).expect("the keeper writes its id");
        let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
        Some(Self { keeper, facts, netns, volumes: AtomicU32::new(0), class: OnceCell::new() })
    }

    /// Its files and addresses; the addresses are those inside of its network.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The file of its network's namespace.
    #[must_use]
    pub fn netns(&self) -> &Path {
        &self.netns
    }

    /// The node's address, at which pods reach what listens there.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        node::ADDRESS
    }

    /// The administrator's kubeconfig, which works inside of its network.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.facts.kubeconfig
    }

    /// A client of the administrator. It belongs to the calling test's runtime.
    ///
    /// # Panics
    /// Never: the kubeconfig is ours.
    pub async fn client(&self) -> Client {
        let api = self.facts.url.trim_start_matches("https://").parse().expect("an address");
        let forward = self.forward(api).await.keep();
        let client = client(&self.facts.kubeconfig, Some(&format!("https://{forward}"))).await;
        client.expect("the kubeconfig is ours")
    }

    /// Makes a namespace whose name begins with `prefix`, and says its name.
    pub async fn namespace(&self, prefix: &str) -> String {
        namespace(&self.client().await, prefix).await
    }

    /// A command that will run in the cluster's network, and otherwise like any other. It is killed
    /// when it is dropped or the calling thread ends.
    #[must_use]
    pub fn in_netns(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = bound("nsenter");
        command.arg(format!("--net={}", self.netns.display())).arg("--").arg(program);
        command
    }

    /// Connects to a pod, a Service or the node, as they are addressed inside.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        netns::connect(&self.netns, address).await
    }

    /// A UDP socket inside of the cluster's network.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        netns::udp(&self.netns, address).await
    }

    /// Listens at the node's address, where pods can reach it.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn listen(&self) -> TcpListener {
        netns::listen(&self.netns, node::ADDRESS).await.expect("there is a free port")
    }

    /// An address on this side that leads to a pod, a Service or the node, until it is dropped.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn forward(&self, target: SocketAddr) -> Forward {
        Forward::to(self.netns.clone(), target).await.expect("there is a free port")
    }

    /// As [`Cluster::forward`], to a Service by its name, at the port of this number.
    ///
    /// # Panics
    /// When there is no such Service, or it has no address of its own.
    pub async fn forward_service(&self, namespace: &str, service: &str, port: u16) -> Forward {
        let address = self
            .kubectl(
                &["-n", namespace, "get", "service", service, "-o=jsonpath={.spec.clusterIP}"],
                "",
            )
            .await
            .exits(0)
            .out;
        let address = address.parse().unwrap_or_else(|_| panic!("{service} is at `{address}`"));
        self.forward(SocketAddr::new(address, port)).await
    }

    /// Runs kubectl as the administrator with this text on its standard input.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Finished {
        let mut command = self.in_netns(tool("kubectl"));
        command.args(arguments);
        run(command, &self.facts, stdin).await
    }

    /// Runs Helm as the administrator.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn helm(&self, arguments: &[&str]) -> Finished {
        let mut command = self.in_netns(tool("helm"));
        command.args(arguments);
        run(command, &self.facts, "").await
    }

    /// Loads the images of an archive as `docker save` makes it; pods name them as it does.
    ///
    /// # Panics
    /// When that fails.
    pub async fn import_image(&self, archive: &Path) {
        let archive = archive.display().to_string();
        self.ctr(&["images", "import", &archive]).await.exits(0);
    }

    /// Gives an image that was loaded another name, too. Both in full, with the registry.
    ///
    /// # Panics
    /// When there is no such image.
    pub async fn tag_image(&self, name: &str, other: &str) {
        self.ctr(&["images", "tag", name, other]).await.exits(0);
    }

    /// Runs commands in a shell, in a folder, as the administrator, with kubectl and Helm on the
    /// PATH. The first that fails ends it.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn shell(&self, folder: &Path, commands: &str) -> Finished {
        let tools = tool("kubectl");
        let tools = tools.parent().expect("it is in a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.in_netns("bash");
        command.args(["-e", "-o", "pipefail", "-c", commands]);
        command.current_dir(folder).env("PATH", format!("{tools}:{path}"));
        run(command, &self.facts, "").await
    }

    /// Kills a container's process as the system does when memory is out.
    ///
    /// # Panics
    /// When there is no such running container.
    pub async fn kill_container(&self, namespace: &str, pod: &str, container: &str) {
        let said = self.kubectl(&["-n", namespace, "get", "pod", pod, "-o", "json"], "").await;
        let pod: Value = serde_json::from_str(&said.exits(0).out).expect("kubectl says JSON");
        let statuses = pod["status"]["containerStatuses"].as_array().expect("it has containers");
        let found = statuses.iter().find(|status| status["name"] == container);
        let id = found.and_then(|status| status["containerID"].as_str()).expect("it is there");
        let id = id.trim_start_matches("containerd://");
        self.ctr(&["task", "kill", "--signal", "SIGKILL", id]).await.exits(0);
    }

    /// Adds a volume of this size (`1Gi`), which the next claim that fits takes (the default
    /// StorageClass makes none by itself). Its folder on this machine; anybody may write into it.
    ///
    /// # Panics
    /// When that fails.
    pub async fn persistent_volume(&self, size: &str) -> PathBuf {
        let number = self.volumes.fetch_add(1, Ordering::Relaxed);
        let name = format!("volume-{number}");
        let folder = self.facts.folder.join(&name);
        fs::create_dir(&folder).expect("the folder is ours");
        // fsGroup does not apply to folders of the node.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
        self.class.get_or_init(|| self.storage_class()).await;
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": "folders",
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": folder, "type": "Directory"},
            },
        });
        self.kubectl(&["apply", "-f", "-"], &volume.to_string()).await.exits(0);
        folder
    }

    /// Once: two who apply it at the same time are in each other's way.
    async fn storage_class(&self) {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "folders",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
        });
        self.kubectl(&["apply", "-f", "-"], &class.to_string()).await.exits(0);
    }

    /// Everything etcd has, as stored.
    pub async fn etcd_dump(&self) -> Vec<Stored> {
        etcd::dump(self.forward(self.facts.etcd).await.address).await
    }

    /// Kills a part of the cluster, such as `kubelet` or `kube-apiserver`. Only for a cluster of
    /// one's own.
    pub async fn stop(&self, part: &str) {
        self.keeper.tell(format!("stop {part}")).await;
    }

    /// Starts a part that was stopped.
    pub async fn start_again(&self, part: &str) {
        self.keeper.tell(format!("start {part}")).await;
    }

    async fn ctr(&self, arguments: &[&str]) -> Finished {
        let mut command = bound("ctr");
        command.arg("--address").arg(self.facts.folder.join("containerd.sock"));
        command.args(["--namespace", "k8s.io"]).args(arguments);
        run(command, &self.facts, "").await
    }
}
