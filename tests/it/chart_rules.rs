//! What holds for every document of the chart, whatever the values: parts fit together, pods are
//! restricted, and the operator may do no more than it says.

use std::{collections::BTreeSet, fs, process::Command};

use segment_source_tests::{
    chart::{
        available, documents, everything, find, list, names, parse, pods, render_as, selects, text,
    },
    process::{binary, root},
};
use serde_json::{Value, json};

fn sets() -> Vec<String> {
    let cluster = "watchNamespaces: ['*']\nmode: distributed";
    let manager = "tls: {certManager: {enabled: true}}";
    let [one, pool] = ["single", "distributed"]
        .map(|mode| format!("mode: {mode}\nredis: {{existingSecret: {REDIS}}}"));
    let all = ["", "mode: distributed", cluster, manager, &one, &pool, &everything()];
    all.map(str::to_owned).to_vec()
}

/// The Secret with the way to Redis, which somebody else makes.
const REDIS: &str = "events-redis";

fn labels(template: &Value) -> &Value {
    &template["metadata"]["labels"]
}

#[test]
fn pods_are_restricted() {
    if !available() {
        return;
    }
    for values in sets() {
        let documents = documents(&values);
        let pods = pods(&documents);
        assert!(pods.len() >= 2, "{:?}", names(&documents));
        for (owner, pod) in pods {
            let spec = &pod["spec"];
            let expected = json!({
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            });
            assert_eq!(spec["securityContext"], expected);
            let operator = labels(pod)["app.kubernetes.io/component"] == "operator";
            assert_eq!(spec["automountServiceAccountToken"], operator, "{owner}");
            assert!(spec["terminationGracePeriodSeconds"].as_u64() > Some(5 + 25));
            for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
                assert!(spec[field].is_null(), "{field}");
            }
            for container in list(&spec["containers"]) {
                let expected = json!({
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                });
                assert_eq!(container["securityContext"], expected);
                assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/live");
                assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
                assert!(list(&container["ports"]).iter().all(|port| port["hostPort"].is_null()));
            }
            for volume in list(&spec["volumes"]) {
                assert!(volume["hostPath"].is_null(), "{volume}");
            }
        }
    }
}

/// Each selector finds exactly the pods it is for, and each port that is named is there.
#[test]
fn the_parts_fit_together() {
    if !available() {
        return;
    }
    for values in sets() {
        let documents = documents(&values);
        let pods = pods(&documents);
        let found = |selector: &Value| {
            pods.iter().filter(|(_, pod)| selects(selector, labels(pod))).collect::<Vec<_>>()
        };
        for document in &documents {
            let name = &document["metadata"]["name"];
            let spec = &document["spec"];
            match text(&document["kind"]) {
                "Service" => {
                    let selected = found(&spec["selector"]);
                    let wanted = if text(name).ends_with("-metrics") { pods.len() } else { 1 };
                    assert_eq!(selected.len(), wanted, "{name}");
                    for (port, (_, pod)) in list(&spec["ports"])
                        .iter()
                        .flat_map(|it| selected.iter().map(move |pod| (it, pod)))
                    {
                        let ports = list(&pod["spec"]["containers"][0]["ports"]);
                        let there = ports.iter().any(|it| it["name"] == port["targetPort"]);
                        assert!(there, "{name} sends to {}", port["targetPort"]);
                    }
                }
                "Deployment" | "StatefulSet" | "PodDisruptionBudget" => {
                    let selected = found(&spec["selector"]["matchLabels"]);
                    assert_eq!(selected.len(), 1, "{name}");
                }
                "NetworkPolicy" => {
                    let selected = found(&spec["podSelector"]["matchLabels"]);
                    assert_eq!(selected.len(), 1, "{name}");
                    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
                }
                "HorizontalPodAutoscaler" => {
                    let target = text(&spec["scaleTargetRef"]["name"]);
                    let deployment = find(&documents, "Deployment", target);
                    assert!(deployment["spec"]["replicas"].is_null(), "both would set replicas");
                }
                _ => {}
            }
        }
        let policies = documents.iter().filter(|it| it["kind"] == "NetworkPolicy").count();
        assert_eq!(policies, pods.len(), "a pod without a policy is open");
    }
}

/// Every mounted Secret is made by the chart, by cert-manager, or by the operator, and the operator
/// may write to exactly those that it fills.
#[test]
fn the_operator_fills_what_pods_wait_for() {
    if !available() {
        return;
    }
    for values in sets() {
        let documents = documents(&values);
        let of = |kind: &str, path: &str| -> BTreeSet<String> {
            let all = documents.iter().filter(|it| it["kind"] == kind);
            all.map(|it| text(it.pointer(path).expect(path)).to_owned()).collect()
        };
        let empty = of("Secret", "/metadata/name");
        let issued = of("Certificate", "/spec/secretName");
        for secret in documents.iter().filter(|it| it["kind"] == "Secret") {
            assert!(secret["data"].is_null() && secret["stringData"].is_null(), "{secret}");
        }
        let full = names(&documents)
            .iter()
            .find_map(|name| {
                name.strip_prefix("Deployment/")?.strip_suffix("-operator").map(str::to_owned)
            })
            .expect("there is an operator");
        for (owner, pod) in pods(&documents) {
            for volume in list(&pod["spec"]["volumes"]) {
                let Some(name) = volume["secret"]["secretName"].as_str() else { continue };
                if name == REDIS {
                    continue;
                }
                assert!(empty.contains(name) || issued.contains(name), "{owner}: {name}");
                assert!(volume["secret"]["optional"].is_null(), "the pod waits for {name}");
            }
        }
        let role = find(&documents, "Role", &format!("{full}-operator"));
        let writes: BTreeSet<String> = list(&role["rules"])
            .iter()
            .filter(|rule| rule["resources"] == json!(["secrets"]))
            .flat_map(|rule| list(&rule["resourceNames"]))
            .map(|name| text(name).to_owned())
            .collect();
        assert_eq!(writes, empty);
        // Said to the operator on its command line.
        let operator = find(&documents, "Deployment", &format!("{full}-operator"));
        let args: Vec<&str> = list(&operator["spec"]["template"]["spec"]["containers"][0]["args"])
            .iter()
            .map(text)
            .collect();
        let told: BTreeSet<String> = args
            .iter()
            .filter(|arg| {
                ["--issue=", "--ca-secret=", "--platform-token-secret="]
                    .iter()
                    .any(|it| arg.starts_with(it))
            })
            .map(|arg| arg.rsplit('=').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(told, empty);
    }
}

/// The pod that delivers, and only that one, is told what destinations may be, and reaches it.
#[test]
fn destinations_are_reached_by_the_pod_that_delivers() {
    if !available() {
        return;
    }
    let given = "allowDestinations: [10.96.0.0/12, 10.1.2.3, 'fd00::1', crm.prod.svc]\n\
                 destinationCA: {secret: company, key: ca.pem}\n\
                 knockRates: {5: 100000, 3: 30}\n\
                 networkPolicy: {egress: [{ports: [{protocol: UDP, port: 1}]}]}";
    for (mode, delivers) in [("single", "single"), ("distributed", "ingest")] {
        let documents = documents(&format!("mode: {mode}\n{given}"));
        for (_, pod) in pods(&documents) {
            let component = text(&labels(pod)["app.kubernetes.io/component"]);
            let container = &pod["spec"]["containers"][0];
            let args = list(&container["args"]).iter().map(text);
            let told = |it: &&str| it.contains("destination") || it.contains("knock");
            let told: Vec<&str> = args.filter(told).collect();
            let mounted = list(&container["volumeMounts"])
                .iter()
                .filter(|it| it["mountPath"] == "/destination-ca")
                .count();
            let policy = format!("segment-source-{component}");
            let policy = find(&documents, "NetworkPolicy", &policy).to_string();
            let public = policy.contains("0.0.0.0/0");
            if component != delivers {
                assert_eq!((told, mounted, public), (vec![], 0, false), "{component}");
                continue;
            }
            let expected = [
                "--allow-destination=10.96.0.0/12",
                "--allow-destination=10.1.2.3",
                "--allow-destination=fd00::1",
                "--allow-destination=crm.prod.svc",
                "--destination-ca=/destination-ca/ca.crt",
                "--knock-rate=3=30",
                "--knock-rate=5=100000",
            ];
            assert_eq!((told, mounted, public), (expected.to_vec(), 1, true), "{component}");
            let volumes = list(&pod["spec"]["volumes"]);
            let ca = volumes.iter().find(|it| it["name"] == "destination-ca").expect("a volume");
            assert_eq!(ca["secret"]["secretName"], "company");
            assert_eq!(ca["secret"]["items"], json!([{"key": "ca.pem", "path": "ca.crt"}]));
        }
        let policy = find(&documents, "NetworkPolicy", &format!("segment-source-{delivers}"));
        let egress = list(&policy["spec"]["egress"]);
        let [.., public, allowed, asked] = egress else { panic!("{egress:?}") };
        assert_eq!(public["ports"], json!([{"protocol": "TCP", "port": 443}]));
        // The metadata service and the cluster are no public addresses.
        for block in list(&public["to"]) {
            let block = &block["ipBlock"];
            let private: &[&str] = match text(&block["cidr"]) {
                "0.0.0.0/0" => &["10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
                _ => &["fc00::/7", "fe80::/10"],
            };
            for one in private {
                assert!(list(&block["except"]).contains(&json!(one)), "{one}");
            }
        }
        let blocks = ["10.96.0.0/12", "10.1.2.3/32", "fd00::1/128"];
        let blocks = blocks.map(|cidr| json!({"ipBlock": {"cidr": cidr}}));
        assert_eq!(*allowed, json!({"to": blocks, "ports": [{"protocol": "TCP"}]}));
        assert_eq!(*asked, json!({"ports": [{"protocol": "UDP", "port": 1}]}));
    }
}

/// With a Redis there is no volume, ingests are as many as are asked for and one by one replaced,
/// and each edge dials all of them; who stores, and nobody else, has the Secret and the way.
#[test]
fn a_redis_is_shared_by_the_pods_that_store() {
    if !available() {
        return;
    }
    let given = format!(
        "redis: {{existingSecret: {REDIS}}}\n\
         ingest: {{replicas: 3}}\n\
         networkPolicy: {{redis: {{to: [{{ipBlock: {{cidr: 10.0.0.5/32}}}}], ports: [6379, 6380]}}}}"
    );
    let way = json!({
        "to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}],
        "ports": [{"protocol": "TCP", "port": 6379}, {"protocol": "TCP", "port": 6380}],
    });
    for (mode, stores, name, replicas) in [
        ("single", "single", "segment-source", 1),
        ("distributed", "ingest", "segment-source-ingest", 3),
    ] {
        let documents = documents(&format!("mode: {mode}\n{given}"));
        let all = names(&documents);
        assert!(!all.iter().any(|it| it.starts_with("StatefulSet/")), "{all:?}");
        let workload = &find(&documents, "Deployment", name)["spec"];
        assert_eq!(workload["replicas"], replicas);
        assert_eq!(workload["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        for (_, pod) in pods(&documents) {
            let component = text(&labels(pod)["app.kubernetes.io/component"]);
            let spec = &pod["spec"];
            let volumes = list(&spec["volumes"]);
            assert!(volumes.iter().all(|it| it["persistentVolumeClaim"].is_null()));
            let container = spec["containers"][0].to_string();
            let secret = volumes.iter().any(|it| it["secret"]["secretName"] == REDIS);
            let told = container.contains("--store-secret=/redis");
            let policy = format!("segment-source-{component}");
            let policy = find(&documents, "NetworkPolicy", &policy);
            let reaches = list(&policy["spec"]["egress"]).contains(&way);
            let expected = component == stores;
            assert_eq!((secret, told, reaches), (expected, expected, expected), "{component}");
            assert!(!container.contains("--store=/data"), "{component}");
            let dials = container.contains("--ingest=segment-source-ingest.prod.svc:9090");
            assert_eq!(dials, component == "edge");
            // One pod has nothing to be spread.
            assert_eq!(spec["topologySpreadConstraints"].is_null(), component == "single");
        }
        let budget = all.contains(&format!("PodDisruptionBudget/segment-source-{stores}"));
        assert_eq!(budget, mode == "distributed");
        if mode == "distributed" {
            let service = &find(&documents, "Service", name)["spec"];
            assert_eq!(service["clusterIP"], "None");
            assert_eq!(service["publishNotReadyAddresses"], true);
        }
    }
    // Where nobody says where it is, any address at its port.
    let documents = documents(&format!("redis: {{existingSecret: {REDIS}}}"));
    let policy = find(&documents, "NetworkPolicy", "segment-source-single");
    let anywhere = json!({"ports": [{"protocol": "TCP", "port": 6379}]});
    assert!(list(&policy["spec"]["egress"]).contains(&anywhere));
}

/// `--issue` and the names in cert-manager's certificates say the same.
#[test]
fn both_ways_to_certificates_give_the_same_roles() {
    if !available() {
        return;
    }
    for mode in ["single", "distributed"] {
        let issued = documents(&format!("mode: {mode}"));
        let operator = find(&issued, "Deployment", "segment-source-operator");
        let args = list(&operator["spec"]["template"]["spec"]["containers"][0]["args"]);
        let issued: BTreeSet<(String, Vec<String>)> = args
            .iter()
            .filter_map(|arg| text(arg).strip_prefix("--issue=")?.split_once('='))
            .map(|(roles, secret)| {
                (secret.to_owned(), roles.split('+').map(str::to_owned).collect())
            })
            .collect();
        let managed = documents(&format!("mode: {mode}\ntls: {{certManager: {{enabled: true}}}}"));
        let managed: BTreeSet<(String, Vec<String>)> = managed
            .iter()
            .filter(|it| it["kind"] == "Certificate" && it["spec"]["isCA"].is_null())
            .map(|it| {
                let role = |name: &Value| {
                    let role = text(name).strip_suffix(".segment-source.internal");
                    role.expect("a role").to_owned()
                };
                let roles = list(&it["spec"]["dnsNames"]).iter().map(role).collect();
                (text(&it["spec"]["secretName"]).to_owned(), roles)
            })
            .collect();
        assert_eq!(issued, managed);
        assert_eq!(issued.len(), if mode == "single" { 2 } else { 3 });
    }
}

/// Kind, namespace, and name of every role that lets the operator read sources.
#[track_caller]
fn scopes(values: &str) -> Vec<(String, String, String)> {
    let documents = documents(values);
    let reads = |it: &&Value| {
        list(&it["rules"])
            .iter()
            .any(|rule| rule["resources"] == json!(["secrets"]) && rule["resourceNames"].is_null())
    };
    let mut scopes = Vec::new();
    for role in documents.iter().filter(reads) {
        let name = text(&role["metadata"]["name"]);
        let kind = text(&role["kind"]);
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
        let bound = documents.iter().filter(|it| {
            it["roleRef"]["name"] == name
                && it["roleRef"]["kind"] == kind
                && it["kind"] == format!("{kind}Binding")
                && it["metadata"]["namespace"] == role["metadata"]["namespace"]
        });
        let subjects: Vec<_> = bound.map(|it| it["subjects"].clone()).collect();
        let operator = json!([{
            "kind": "ServiceAccount", "name": "segment-source-operator", "namespace": "prod",
        }]);
        assert_eq!(subjects, [operator], "{name}");
        scopes.push((kind.to_owned(), namespace.to_owned(), name.to_owned()));
    }
    scopes.sort();
    scopes
}

#[test]
fn rights_are_where_sources_are_watched() {
    if !available() {
        return;
    }
    let role =
        |namespace: &str, name: &str| ("Role".to_owned(), namespace.to_owned(), name.to_owned());
    let own = || role("prod", "segment-source-sources");
    let other = |namespace: &str| role(namespace, "prod:segment-source:sources");
    assert_eq!(scopes(""), [own()]);
    assert_eq!(scopes("watchNamespaces: [prod]"), [own()]);
    assert_eq!(scopes("watchNamespaces: [b, prod, a]"), [other("a"), other("b"), own()]);
    assert_eq!(scopes("watchNamespaces: [a]"), [other("a")]);
    let all = ("ClusterRole".to_owned(), String::new(), "prod:segment-source:sources".to_owned());
    assert_eq!(scopes("watchNamespaces: ['*']"), [all]);
}

#[test]
fn no_right_is_a_wildcard() {
    if !available() {
        return;
    }
    for values in sets() {
        for role in documents(&values).iter().filter(|it| text(&it["kind"]).ends_with("Role")) {
            for rule in list(&role["rules"]) {
                for field in ["apiGroups", "resources", "verbs", "resourceNames"] {
                    assert!(!list(&rule[field]).contains(&json!("*")), "{rule}");
                }
            }
        }
    }
}

/// Names stay short enough for what Kubernetes appends, and everything is in the release's
/// namespace.
#[test]
fn long_names_are_cut() {
    if !available() {
        return;
    }
    let long = "a".repeat(53);
    let own = format!("segment-source-{}", "b".repeat(38));
    for release in ["x", "segment-source", "my.release", long.as_str(), own.as_str()] {
        let answer = render_as(release, "prod", "mode: distributed");
        assert!(answer.success, "{}", answer.err);
        for document in parse(&answer.out) {
            let (kind, meta) = (text(&document["kind"]), &document["metadata"]);
            let limit = match kind {
                // Ten characters of a hash must fit into a label.
                "StatefulSet" => 52,
                "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => 253,
                _ => 63,
            };
            let name = text(&meta["name"]);
            assert!(name.len() <= limit && !name.ends_with('-'), "{kind} {name}");
            let simple = |it: char| it.is_ascii_alphanumeric() || "-:".contains(it);
            assert!(
                kind == "CustomResourceDefinition" || name.chars().all(simple),
                "{kind} {name}"
            );
            if !kind.starts_with("Cluster") && kind != "CustomResourceDefinition" {
                assert_eq!(meta["namespace"], "prod", "{kind} {name}");
            }
        }
    }
}

#[test]
fn an_image_by_digest_has_no_tag() {
    if !available() {
        return;
    }
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image = |values: &str| {
        let documents = documents(values);
        let images: BTreeSet<String> = pods(&documents)
            .iter()
            .map(|(_, pod)| text(&pod["spec"]["containers"][0]["image"]).to_owned())
            .collect();
        images.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(image(""), format!("segment-source:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(image("image: {repository: r.example/s, tag: v1}"), "r.example/s:v1");
    let by_digest = format!("image: {{repository: r.example/s, tag: v1, digest: '{digest}'}}");
    assert_eq!(image(&by_digest), format!("r.example/s@{digest}"));
}

/// The values in the examples for Argo CD and Flux are values of the chart.
#[test]
fn the_examples_can_be_installed() {
    if !available() {
        return;
    }
    for (file, path) in [
        ("argo-cd/application.yaml", "/spec/source/helm/valuesObject"),
        ("flux/segment-source.yaml", "/spec/values"),
    ] {
        let example = fs::read_to_string(root().join("charts").join(file)).expect("an example");
        let values = parse(&example).iter().find_map(|it| it.pointer(path).cloned());
        let values = serde_json::to_string(&values.expect(path)).expect("JSON");
        let workload = names(&documents(&values));
        assert!(workload.contains(&"Deployment/segment-source-edge".to_owned()), "{workload:?}");
    }
}

/// The metrics that alerts read are registered by the part they are said to be of.
#[test]
fn alerts_read_metrics_that_are_there() {
    if !available() {
        return;
    }
    let values = "serviceMonitor: {enabled: true}\nprometheusRule: {enabled: true}";
    let documents = documents(values);
    let rules = find(&documents, "PrometheusRule", "segment-source").to_string();
    let words = rules.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    let mut seen = BTreeSet::new();
    for word in words {
        for (role, folder) in
            [("edge", "service/edge"), ("ingest", "service/ingest"), ("operator", "operator")]
        {
            let Some(name) = word.strip_prefix(&format!("segment_source_{role}_")) else {
                continue;
            };
            let quoted = format!("\"{}\"", name.strip_suffix("_total").unwrap_or(name));
            let source = root().join(folder).join("src/metrics.rs");
            let source = fs::read_to_string(source).expect("a source");
            assert!(source.contains(&quoted), "{role} registers no {name}");
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() >= 7, "{seen:?}");
}

/// The programs know every flag they are given, and take its value.
#[test]
fn the_programs_take_their_flags() {
    if !available() {
        return;
    }
    for values in sets() {
        for (owner, pod) in pods(&documents(&values)) {
            let container = &pod["spec"]["containers"][0];
            let program = text(&container["command"][0]).trim_start_matches('/');
            // Help comes last, so that everything before it is read, and nothing is done.
            let output = Command::new(binary().with_file_name(program))
                .args(list(&container["args"]).iter().map(text))
                .arg("--help")
                .env_clear()
                .output()
                .expect("the program runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", owner["metadata"]["name"]);
        }
    }
}
