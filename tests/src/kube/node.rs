//! The one node of a whole cluster: its network, containerd, kubelet, kube-proxy and CoreDNS. Runs
//! inside of namespaces of its own ([`super::keeper::unshare`]): what it mounts, the addresses and
//! rules it makes and every process end with them.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde_json::json;

use super::{
    control::{ControlPlane, PATIENCE, Plan, SERVICES},
    image::Image,
    keys::NODE,
    part::Part,
    tools::{Version, find, tool},
};
use crate::http::{Connection, Request};

/// The node's address, in its namespace.
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 30, 0, 1));

/// Where pods get their addresses from.
pub const PODS: &str = "10.244.0.0/16";

/// The programs a node needs beside those that `tests/tools/build` makes.
pub const SYSTEM: [&str; 7] = ["containerd", "ctr", "runc", "ip", "nft", "unshare", "setpriv"];

/// The programs of `tests/tools/build` that a whole cluster needs.
pub const BUILT: [&str; 9] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "kubectl",
    "helm",
];

const PAUSE: &str = "localhost/pause:1";

/// Starts a control plane and its node, and waits until the node is ready.
///
/// # Errors
/// With the log of the part that did not come up.
pub async fn start(folder: &Path) -> Result<ControlPlane> {
    make_private(folder)?;
    make_network()?;
    let mut containerd = containerd(folder)?;
    containerd.start()?;
    let pause = Image::scratch(PAUSE).c_program("pause").save(folder);

    let flags = Vec::new();
    let plan = Plan { version: Version::Newest, address: ADDRESS, flags, pods: true };
    let mut plane = ControlPlane::start(folder, &plan).await?;
    let admin = plane.kubeconfig.clone();
    plane.add(containerd);

    let socket = folder.join("containerd.sock");
    until(&mut plane, "containerd", async || UnixStream::connect(&socket).is_ok()).await?;
    run("ctr", &["-a", &text(&socket), "-n", "k8s.io", "images", "import", &text(&pause)])?;

    let node = folder.join("node.kubeconfig");
    fs::write(&node, plane.keys.node(&plane.url))?;
    for mut part in [kubelet(folder, &node)?, kube_proxy(folder, &admin)?, coredns(folder, &admin)?]
    {
        part.start()?;
        plane.add(part);
    }
    let nodes: Api<Node> = Api::all(plane.client().await?);
    until(&mut plane, "kubelet", async || {
        let node = nodes.get(NODE).await.ok();
        let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
        conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
    })
    .await?;
    until(&mut plane, "kube-proxy", async || answers(10256, "/healthz").await).await?;
    until(&mut plane, "coredns", async || answers(8181, "/ready").await).await?;
    Ok(plane)
}

/// Waits until a part is ready.
async fn until(plane: &mut ControlPlane, name: &str, ready: impl AsyncFn() -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !ready().await {
        let part = plane.part(name)?;
        part.runs()?;
        if Instant::now() > end {
            bail!("{name} is not ready after {} s:\n{}", PATIENCE.as_secs(), part.tail());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn answers(port: u16, target: &str) -> bool {
    let Ok(mut connection) = Connection::open(SocketAddr::from((ADDRESS, port))).await else {
        return false;
    };
    connection.call(&Request::new("GET", target)).await.is_ok_and(|reply| reply.status == 200)
}

/// Gives the fixed folders of these programs a place in ours, and the kernel's settings that kubelet
/// wants a copy, so that nothing of the machine is changed.
fn make_private(folder: &Path) -> Result<()> {
    for (name, over) in [("lib", "/var/lib"), ("varlog", "/var/log"), ("run", "/run")] {
        let own = folder.join(name);
        fs::create_dir(&own)?;
        run("mount", &["--bind", &text(&own), over])?;
    }
    fs::create_dir("/run/lock")?;
    for (name, value) in [
        ("vm/overcommit_memory", "1"),
        ("vm/panic_on_oom", "0"),
        ("kernel/panic", "10"),
        ("kernel/panic_on_oops", "1"),
        ("kernel/keys/root_maxkeys", "1000000"),
        ("kernel/keys/root_maxbytes", "25000000"),
    ] {
        let real = format!("/proc/sys/{name}");
        if Path::new(&real).exists() {
            let copy = folder.join(name.replace('/', "-"));
            fs::write(&copy, value)?;
            run("mount", &["--bind", &text(&copy), &real])?;
        }
    }
    Ok(())
}

fn make_network() -> Result<()> {
    let address = format!("{ADDRESS}/32");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        // Dummy devices are not in every kernel; a bridge without ports does the same.
        &["link", "add", "node0", "type", "bridge"],
        &["address", "add", &address, "dev", "node0"],
        &["link", "set", "node0", "up"],
        // Otherwise there is no route to Services from the node itself.
        &["route", "add", SERVICES, "dev", "node0", "src", &ADDRESS.to_string()],
    ] {
        run("ip", arguments)?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    // Answers between two pods pass the rules of Services, too.
    let bridged = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if bridged.exists() {
        fs::write(bridged, "1")?;
    }
    Ok(())
}

fn containerd(folder: &Path) -> Result<Part> {
    let cni = folder.join("cni");
    fs::create_dir(&cni)?;
    let network = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    fs::write(cni.join("pods.conflist"), network.to_string())?;
    let config = folder.join("containerd.toml");
    let path = |name: &str| text(&folder.join(name));
    fs::write(
        &config,
        format!(
            r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{cni}"
"#,
            root = path("containerd"),
            state = path("containerd-state"),
            socket = path("containerd.sock"),
            opt = path("opt"),
            snapshotter = snapshotter(folder)?,
            plugins = plugins()?,
            cni = path("cni"),
        ),
    )?;
    let program = system("containerd")?;
    Ok(Part::new(folder, "containerd", program, vec!["--config".into(), text(&config)]))
}

/// Overlays when the file system can carry them, copies otherwise.
fn snapshotter(folder: &Path) -> Result<&'static str> {
    let test = folder.join("overlay");
    for name in ["lower", "upper", "work", "all"] {
        fs::create_dir_all(test.join(name))?;
    }
    let path = |name: &str| text(&test.join(name));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
    let mounted = run("mount", &["-t", "overlay", "overlay", "-o", &options, &path("all")]);
    Ok(if mounted.is_ok() && run("umount", &[&path("all")]).is_ok() {
        "overlayfs"
    } else {
        "native"
    })
}

/// Where the CNI plugins are: Debian's folder, or everybody else's.
fn plugins() -> Result<&'static str> {
    let folders = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
    let found = folders.into_iter().find(|folder| Path::new(folder).join("bridge").is_file());
    found.context("no CNI plugins (package containernetworking-plugins)")
}

fn kubelet(folder: &Path, kubeconfig: &Path) -> Result<Part> {
    let resolve = folder.join("resolv.conf");
    fs::write(&resolve, "")?;
    let path = |name: &str| text(&folder.join(name));
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        // The namespace is closed, and only the API server asks.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": format!("unix://{}", path("containerd.sock")),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "resolvConf": resolve,
        "volumePluginDir": folder.join("volume-plugins"),
        // The disk is the machine's, and nothing can be pulled again.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Changed Secrets reach mounted volumes within seconds.
        "syncFrequency": "2s",
        "nodeStatusUpdateFrequency": "2s",
    });
    let file = folder.join("kubelet.json");
    fs::write(&file, config.to_string())?;
    let flags = [
        ("config", text(&file)),
        ("kubeconfig", text(kubeconfig)),
        ("hostname-override", NODE.to_owned()),
        ("node-ip", ADDRESS.to_string()),
    ];
    let flags = flags.map(|(flag, value)| format!("--{flag}={value}")).to_vec();
    Ok(Part::new(folder, "kubelet", tool("kubelet"), flags))
}

fn kube_proxy(folder: &Path, kubeconfig: &Path) -> Result<Part> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "healthzBindAddress": format!("{ADDRESS}:10256"),
        "metricsBindAddress": "127.0.0.1:10249",
        // Belongs to the machine, not to the namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    });
    let file = folder.join("kube-proxy.json");
    fs::write(&file, config.to_string())?;
    let flags = vec![format!("--config={}", file.display())];
    Ok(Part::new(folder, "kube-proxy", tool("kube-proxy"), flags))
}

fn coredns(folder: &Path, kubeconfig: &Path) -> Result<Part> {
    let file = folder.join("Corefile");
    let zones = format!(
        ".:53 {{
    bind {ADDRESS}
    errors
    ready {ADDRESS}:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        ttl 1
    }}
}}
",
        kubeconfig.display()
    );
    fs::write(&file, zones)?;
    Ok(Part::new(folder, "coredns", tool("coredns"), vec!["-conf".into(), text(&file)]))
}

/// Folders of control groups of the containers that run, or ran when the cluster was killed.
/// containerd names them after its namespace, which clusters have in common, and the container.
#[must_use]
pub fn cgroups(folder: &Path) -> Vec<PathBuf> {
    let names = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let tasks = folder.join("containerd-state/io.containerd.runtime.v2.task/k8s.io");
    let containers: Vec<_> = names(&tasks);
    let root = Path::new("/sys/fs/cgroup");
    // Version 2 has one hierarchy, version 1 many.
    let hierarchies = std::iter::once(root.to_owned()).chain(names(root));
    let all = hierarchies.flat_map(|hierarchy| {
        let names = containers.iter().filter_map(|container| container.file_name());
        names.map(|name| hierarchy.join("k8s.io").join(name)).collect::<Vec<_>>()
    });
    all.filter(|path| path.is_dir()).collect()
}

/// A program of the system.
fn system(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.is_file());
    found.with_context(|| format!("no {name}: run `tests/tools/debian`"))
}

/// What is missing on this machine to run a whole cluster.
#[must_use]
pub fn missing() -> Vec<String> {
    let system = SYSTEM.into_iter().filter(|name| system(name).is_err());
    let built = BUILT.into_iter().filter(|name| find(name).is_none());
    let mut missing: Vec<_> = system.chain(built).map(str::to_owned).collect();
    if plugins().is_err() {
        missing.push("CNI plugins".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    missing
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(())
}
