//! The arrows between the crates, read from Cargo itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use segment_source_tests::process::root;
use serde_json::Value;

/// Normal and build dependencies of every package of the workspace's resolved graph, by name.
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    names: BTreeMap<String, String>,
}

impl Graph {
    fn read() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--format-version", "1", "--locked"]);
        let output = cargo.current_dir(root()).output().expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let names = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let shipped = |dependency: &Value| {
            list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev")
        };
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let dependencies = list(&node["deps"]);
                let ids = dependencies.iter().filter(|it| shipped(it)).map(|it| text(&it["pkg"]));
                (text(&node["id"]), ids.collect())
            })
            .collect();
        Self { edges, names }
    }

    /// Names of the packages of this workspace that this one depends on directly.
    fn own(&self, name: &str) -> BTreeSet<String> {
        let direct = self.edges[self.id(name)].iter().map(|id| self.names[id].clone());
        direct.filter(|name| name.starts_with("segment-source")).collect()
    }

    /// Names of everything this package is built from.
    fn all(&self, name: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![self.id(name)];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.edges[id]);
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }

    fn id(&self, name: &str) -> &String {
        let found = self.names.iter().find(|(_, own)| *own == name);
        found.map(|(id, _)| id).unwrap_or_else(|| panic!("no package {name}"))
    }
}

#[test]
fn dependencies_point_one_way() {
    let graph = Graph::read();
    let check = |name: &str, allowed: &[&str]| {
        let full = |short: &&str| format!("segment-source-{short}");
        let allowed: BTreeSet<String> = allowed.iter().map(full).collect();
        let own = graph.own(name);
        let more: Vec<_> = own.difference(&allowed).collect();
        assert!(more.is_empty(), "{name} must not depend on {more:?}");
    };
    let name = |short: &str| format!("segment-source-{short}");
    check(&name("core"), &[]);
    check(&name("proto"), &[]);
    check(&name("crds"), &["core", "proto"]);
    check(&name("store"), &["core", "proto"]);
    check(&name("rpc"), &["core", "proto"]);
    check(&name("runtime"), &[]);
    // No arrow between edge and ingest, nor between ingest and destinations.
    check(&name("edge"), &["core", "proto"]);
    for role in ["ingest", "destinations"] {
        check(&name(role), &["core", "proto", "store", "rpc"]);
    }
    let parts = ["store", "edge", "ingest", "destinations"];
    check("segment-source", &[&["core", "proto", "crds", "rpc", "runtime"][..], &parts].concat());
    // The operator knows nothing of the data plane.
    check(&name("operator"), &["core", "proto", "crds", "rpc", "runtime"]);
}

#[test]
fn the_data_plane_does_not_know_kubernetes() {
    let graph = Graph::read();
    for client in ["kube-client", "kube-runtime"] {
        assert!(!graph.all("segment-source").contains(client), "{client} is under service/");
    }
    let roles = ["core", "proto", "rpc", "runtime", "store", "edge", "ingest", "destinations"];
    for role in roles {
        let all = graph.all(&format!("segment-source-{role}")).into_iter().collect::<Vec<_>>();
        let kubernetes =
            all.iter().filter(|name| name.starts_with("kube") || **name == "k8s-openapi");
        assert_eq!(kubernetes.count(), 0, "{role} knows Kubernetes: {all:?}");
    }
}

#[test]
fn the_domain_does_no_io() {
    let graph = Graph::read();
    let core = graph.all("segment-source-core");
    for io in ["tokio", "hyper", "axum", "tonic", "fjall", "reqwest", "rustix", "tracing"] {
        assert!(!core.contains(io), "core is built from {io}");
    }
}
