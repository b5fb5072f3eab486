//! What the charts render, before the judges who know: API servers of the oldest and the newest
//! release, and kubeconform with the schemas that those servers tell.

use std::{fs, path::Path, process::Stdio};

use segment_source_tests::{
    admission::examples,
    chart::{chart, documents, everything, helm},
    kube::{
        api::ApiServer,
        tools::{Version, available, tool},
    },
    schemas::{TEMPLATE, files},
    sources::established,
    wait::eventually,
};
use serde_json::Value;
use tokio::sync::Mutex;

/// Kinds of programs that no bare API server has.
const FOREIGN: [&str; 3] =
    ["cert-manager.io/", "monitoring.coreos.com/", "gateway.networking.k8s.io/"];

fn sets() -> Vec<String> {
    let cluster = "watchNamespaces: ['*']\nmode: distributed\nedge: {autoscaling: {enabled: true}}";
    let other = "watchNamespaces: [prod, staging]\nserviceAccount: {create: false}\nlisten: '[::]'";
    let pool = "mode: distributed\nredis: {existingSecret: events}";
    ["", "mode: distributed", pool, cluster, other, &everything()].map(str::to_owned).to_vec()
}

/// Documents that a bare API server knows, as a list for kubectl.
fn known(values: &str) -> Vec<Value> {
    let foreign = |it: &Value| {
        let version = it["apiVersion"].as_str().unwrap_or_default();
        FOREIGN.iter().any(|group| version.starts_with(group))
    };
    documents(values).into_iter().filter(|it| !foreign(it)).collect()
}

fn yaml(documents: &[Value]) -> String {
    let one = |it: &Value| format!("---\n{}\n", serde_json::to_string(it).expect("JSON"));
    documents.iter().map(one).collect()
}

/// Servers with the definition, and with the namespaces of the sets.
async fn server(version: Version) -> Option<&'static ApiServer> {
    static PREPARED: Mutex<Vec<Version>> = Mutex::const_new(Vec::new());
    if !available(&["helm", "kubeconform"]) {
        return None;
    }
    let api = ApiServer::shared(version).await?;
    let mut prepared = PREPARED.lock().await;
    if !prepared.contains(&version) {
        let own = chart("segment-source-crds");
        let definition = helm(&["template", "any", own.to_str().expect("UTF-8")], "");
        api.kubectl(&["apply", "--server-side", "--filename", "-"], &definition.out).await.exits(0);
        established(&api.client().await).await;
        for name in ["prod", "staging"] {
            api.kubectl(&["create", "namespace", name], "").await.exits(0);
        }
        prepared.push(version);
    }
    Some(api)
}

/// Every field is known, every value is right, and nothing is warned of, Pod Security included.
#[tokio::test]
async fn api_servers_take_every_document() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = server(version).await else { return };
        let restricted = "pod-security.kubernetes.io/warn=restricted";
        api.kubectl(&["label", "--overwrite", "namespace", "prod", restricted], "").await.exits(0);
        for values in sets() {
            let arguments = ["apply", "--dry-run=server", "--server-side", "--validate=strict"];
            let arguments = [&arguments[..], &["--force-conflicts", "--filename", "-"]].concat();
            let said = api.kubectl(&arguments, &yaml(&known(&values))).await.exits(0);
            assert!(!said.err.contains("arning"), "{}\n{values}", said.err);
            assert!(said.out.lines().count() > 15, "{}", said.out);
        }
    }
}

/// Writes the schemas of everything that a server knows.
async fn schemas(api: &ApiServer, into: &Path) {
    let get = async |path: &str| -> Value {
        let answer = api.kubectl(&["get", "--raw", path], "").await.exits(0);
        serde_json::from_str(&answer.out).expect("JSON")
    };
    // A server tells of a definition a while after it serves it.
    let index = eventually("the server tells of sources", async || {
        let index = get("/openapi/v3").await;
        index["paths"]["apis/segment-source.dev/v1alpha1"].is_object().then_some(index)
    })
    .await;
    let paths = index["paths"].as_object().expect("paths").clone();
    for (name, path) in paths.iter().filter(|(name, _)| name.matches('/').count() >= 1) {
        if !["api/v1", "apis/"].iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let url = path["serverRelativeURL"].as_str().expect("a path");
        for (file, schema) in files(&get(url).await) {
            let bytes = serde_json::to_vec(&schema).expect("JSON");
            fs::write(into.join(file), bytes).expect("a schema is written");
        }
    }
}

async fn kubeconform(schemas: &Path, manifests: &str) -> (bool, String) {
    let location = format!("{}/{TEMPLATE}", schemas.display());
    let mut child = tokio::process::Command::new(tool("kubeconform"))
        .args(["-strict", "-summary", "-schema-location", &location, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubeconform starts");
    let mut input = child.stdin.take().expect("a pipe");
    tokio::io::AsyncWriteExt::write_all(&mut input, manifests.as_bytes()).await.expect("it reads");
    drop(input);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test]
async fn kubeconform_finds_nothing() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = server(version).await else { return };
        let folder = tempfile::tempdir().expect("a temporary folder");
        schemas(api, folder.path()).await;
        for values in sets() {
            let known = known(&values);
            let (clean, said) = kubeconform(folder.path(), &yaml(&known)).await;
            let all = format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", known.len());
            assert!(clean && said.contains(&all), "{said}\n{values}");
        }
        let sources: Vec<Value> = examples().into_iter().map(|(_, source)| source).collect();
        let (clean, said) = kubeconform(folder.path(), &yaml(&sources)).await;
        let all = format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", sources.len());
        assert!(clean && said.contains(&all), "{said}");
        // It would find something.
        let mut wrong = known("");
        let workload =
            wrong.iter_mut().find(|it| it["kind"] == "StatefulSet").expect("there is one");
        workload["spec"]["template"]["spec"]["containers"][0]["portz"] = "8080".into();
        let (clean, said) = kubeconform(folder.path(), &yaml(&wrong)).await;
        assert!(!clean && said.contains("portz"), "{said}");
        let source =
            "apiVersion: segment-source.dev/v1alpha1\nkind: SegmentSource\nmetadata: {name: a}\n";
        let (clean, said) = kubeconform(folder.path(), source).await;
        assert!(!clean && said.contains("spec"), "{said}");
    }
}
