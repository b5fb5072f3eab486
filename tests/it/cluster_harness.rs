//! The whole cluster that tests run on: pods run, find each other, and leave nothing behind.

use std::{collections::BTreeSet, fs, net::Ipv4Addr, net::SocketAddr, sync::Mutex};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Api, api::ListParams};
use segment_source_tests::{
    http::{Connection, Request},
    kube::{cluster::Cluster, image::Image, node},
    wait::{eventually, soon},
};
use serde_json::json;

const WEB: &str = "localhost/web:1";

/// Two pods of a small web server, behind a Service; a Secret and a volume are mounted, and they may
/// do no more than restricted Pod Security lets them.
async fn deploy(cluster: &Cluster, namespace: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Image::scratch(WEB).c_program("web").save(folder.path());
    cluster.import_image(&archive).await;
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "web", "image": WEB,
                    "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
                    "resources": {"limits": {"cpu": "200m", "memory": "32Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "memory", "mountPath": "/memory"},
                        {"name": "secret", "mountPath": "/secret"},
                        {"name": "data", "mountPath": "/data"},
                    ],
                }],
                "securityContext": {
                    "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "volumes": [
                    {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                    {"name": "secret", "secret": {"secretName": "web"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "web"}},
                ],
            },
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "web"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
        },
    });
    let items = [secret("first"), claim, deployment, service];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    cluster.kubectl(&["apply", "-n", namespace, "-f", "-"], &list).await.exits(0);
    let wait = ["wait", "-n", namespace, "--for=condition=Available", "deployment/web"];
    let done = cluster.kubectl(&[&wait[..], &["--timeout=60s"]].concat(), "").await;
    if done.code != Some(0) {
        let said = cluster.kubectl(&["describe", "pods", "-n", namespace], "").await;
        panic!("{}{}", done.said(), said.said());
    }
}

fn secret(value: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"},
        "stringData": {"value": value},
    })
}

async fn get(address: SocketAddr, path: &str) -> String {
    soon("a reply", try_get(address, path)).await.expect("the Service answers")
}

/// `None` where nobody answers yet.
async fn try_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut connection = Connection::open(address).await.ok()?;
    let reply = connection.call(&Request::new("GET", path)).await.ok()?;
    assert_eq!(reply.status, 200);
    Some(reply.text())
}

#[tokio::test]
async fn pods_run_and_are_reached_through_their_service() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.namespace("web").await;
    let volume = cluster.persistent_volume("1Mi").await;
    fs::write(volume.join("note"), "kept").expect("the volume is a folder");
    deploy(cluster, &namespace).await;
    let client = cluster.client().await;

    // Both pods answer at the Service's address, and under their own.
    let web = cluster.forward_service(&namespace, "web", 80).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = pods.list(&ListParams::default()).await.expect("pods").items;
    let names: BTreeSet<_> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    assert_eq!(names.len(), 2);
    let seen = Mutex::new(BTreeSet::new());
    eventually("each pod gets its share", || async {
        let pod = try_get(web.address, "/").await?;
        let mut seen = seen.lock().expect("one at a time");
        seen.insert(pod);
        (*seen == names).then_some(())
    })
    .await;

    // Its name leads to that address.
    let services: Api<Service> = Api::namespaced(client, &namespace);
    let service = services.get("web").await.expect("the Service").spec.expect("a spec");
    let address: Ipv4Addr = service.cluster_ip.expect("an address").parse().expect("IPv4");
    let name = format!("web.{namespace}.svc.cluster.local");
    eventually("the name is known", || async {
        (resolve(cluster, &name).await == Some(address)).then_some(())
    })
    .await;
    let resolver = get(web.address, "/etc/resolv.conf").await;
    assert!(resolver.contains(&format!("nameserver {}", node::ADDRESS)), "{resolver}");

    // What is mounted is there, and a changed Secret arrives.
    assert_eq!(get(web.address, "/data/note").await, "kept");
    assert_eq!(get(web.address, "/secret/value").await, "first");
    let changed = secret("second").to_string();
    cluster.kubectl(&["apply", "-n", &namespace, "-f", "-"], &changed).await.exits(0);
    eventually("the changed Secret is mounted", || async {
        (get(web.address, "/secret/value").await == "second").then_some(())
    })
    .await;

    // People look into it.
    let pod = names.first().expect("there are two");
    let logs = cluster.kubectl(&["logs", "-n", &namespace, pod], "").await.exits(0).out;
    assert_eq!(logs, "listening on port 8080\n");
    let again = cluster.kubectl(&["exec", "-n", &namespace, pod, "--", "/web"], "").await;
    assert!(again.exits(1).said().contains("port 8080: Address"), "exec runs in the pod");

    // A container that dies comes back.
    cluster.kill_container(&namespace, pod, "web").await;
    eventually("the container is started again", || async {
        let path = "-o=jsonpath={.status.containerStatuses[0].restartCount}";
        let said = cluster.kubectl(&["get", "pod", "-n", &namespace, pod, path], "").await;
        (said.exits(0).out == "1").then_some(())
    })
    .await;
}

/// Asks the cluster's DNS for an IPv4 address.
async fn resolve(cluster: &Cluster, name: &str) -> Option<Ipv4Addr> {
    let socket = cluster.udp(SocketAddr::from((node::ADDRESS, 53))).await.expect("a socket");
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("a label is short"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&question).await.expect("it is sent");
    let mut answer = [0; 512];
    let length = soon("DNS answers", socket.recv(&mut answer)).await.expect("an answer");
    let found = answer[..length].last_chunk::<4>().copied()?;
    // Number of answers.
    (answer[6..8] == [0, 1]).then(|| Ipv4Addr::from(found))
}

#[tokio::test]
async fn helm_installs_and_uninstalls() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.namespace("helm").await;
    let chart = tempfile::tempdir().expect("a folder");
    fs::create_dir(chart.path().join("templates")).expect("a folder");
    fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: small\nversion: 1.0.0\n")
        .expect("a file");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n";
    fs::write(chart.path().join("templates/map.yaml"), map).expect("a file");
    let path = chart.path().display().to_string();
    cluster.helm(&["install", "one", &path, "-n", &namespace, "--wait"]).await.exits(0);
    let get = ["get", "configmap", "one", "-n", &namespace];
    cluster.kubectl(&get, "").await.exits(0);
    cluster.helm(&["uninstall", "one", "-n", &namespace, "--wait"]).await.exits(0);
    let gone = cluster.kubectl(&get, "").await.exits(1).said();
    assert!(gone.contains("NotFound"), "{gone}");
}

#[tokio::test]
async fn nothing_is_left_of_a_cluster() {
    let Some(cluster) = Cluster::start().await else { return };
    let namespace = cluster.namespace("left").await;
    cluster.persistent_volume("1Mi").await;
    deploy(&cluster, &namespace).await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client().await, &namespace);
    let status = deployments.get("web").await.expect("it is there").status.expect("a status");
    assert_eq!(status.available_replicas, Some(2));
    let nodes: Api<Node> = Api::all(cluster.client().await);
    assert_eq!(nodes.list(&ListParams::default()).await.expect("nodes").items.len(), 1);
    let folder = cluster.facts().folder.clone();
    let cgroups = node::cgroups(&folder);
    assert!(cgroups.len() >= 4, "two pods of two containers: {cgroups:?}");
    assert!(!processes(&folder.display().to_string()).is_empty());

    drop(cluster);
    assert!(!folder.exists(), "no file is left");
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()), "no control group is left");
    assert_eq!(processes(&folder.display().to_string()), Vec::<String>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&folder.display().to_string()), "{mounts}");
}

/// Command lines with this text.
fn processes(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}
