//! The Helm charts, as Helm renders them: documents as values, or what it says when it refuses. No
//! cluster is needed.

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Map, Value};

use crate::{kube::tools, process::root};

/// What Helm answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it did what was asked.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error, without notes about links.
    pub err: String,
}

/// The folder of a chart of this repository.
#[must_use]
pub fn chart(name: &str) -> PathBuf {
    root().join("charts").join(name)
}

/// Whether there is Helm. Otherwise the caller has nothing to test with and returns, after a line
/// that says so.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
#[must_use]
pub fn available() -> bool {
    tools::available(&["helm"])
}

/// Runs Helm with folders of its own, so that nothing a person has configured plays a part.
///
/// # Panics
/// When Helm cannot be run.
#[must_use]
pub fn helm(arguments: &[&str], values: &str) -> Answer {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(tools::tool("helm"));
    command.args(arguments).env_remove("KUBECONFIG").stdin(Stdio::piped());
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, home.path());
    }
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("helm can be started");
    // It may refuse before it has read everything.
    _ = child.stdin.take().expect("a pipe").write_all(values.as_bytes());
    let output = child.wait_with_output().expect("helm ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let err = text(&output.stderr);
    let lines = err.lines().filter(|line| !line.contains("found symbolic link in path"));
    Answer {
        success: output.status.success(),
        out: text(&output.stdout),
        err: lines.collect::<Vec<_>>().join("\n"),
    }
}

/// Values with which everything that can be on is on.
///
/// # Panics
/// When the fixture is not there.
#[must_use]
pub fn everything() -> String {
    let file = root().join("tests/fixtures/charts/everything.values.yaml");
    fs::read_to_string(file).expect("the fixture is there")
}

/// Renders the chart `segment-source` as release `segment-source` in namespace `prod`, with these
/// values (YAML).
#[must_use]
pub fn render(values: &str) -> Answer {
    render_as("segment-source", "prod", values)
}

/// Renders the chart `segment-source` with these values (YAML).
#[must_use]
pub fn render_as(release: &str, namespace: &str, values: &str) -> Answer {
    let folder = chart("segment-source");
    let folder = folder.to_str().expect("UTF-8");
    helm(&["template", release, folder, "--namespace", namespace, "--values", "-"], values)
}

/// The documents of these values, as a server would read them.
///
/// # Panics
/// When Helm refuses the values.
#[must_use]
#[track_caller]
pub fn documents(values: &str) -> Vec<Value> {
    let answer = render(values);
    assert!(answer.success, "{}\n{values}", answer.err);
    parse(&answer.out)
}

/// The documents of a rendered chart.
///
/// # Panics
/// When the text is not YAML.
#[must_use]
pub fn parse(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).expect("Helm renders YAML");
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// The only document of this kind and name.
///
/// # Panics
/// When there is none, or more than one.
#[must_use]
#[track_caller]
pub fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> = documents
        .iter()
        .filter(|it| it["kind"] == kind && it["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name} among {:?}", names(documents));
    found[0]
}

/// `Kind/name` of each document.
#[must_use]
pub fn names(documents: &[Value]) -> Vec<String> {
    let name = |it: &Value| format!("{}/{}", text(&it["kind"]), text(&it["metadata"]["name"]));
    documents.iter().map(name).collect()
}

/// Every pod template, with the document it is of.
#[must_use]
pub fn pods(documents: &[Value]) -> Vec<(&Value, &Value)> {
    let template = |it: &'_ Value| it["spec"]["template"]["spec"].is_object();
    documents.iter().filter(|it| template(it)).map(|it| (it, &it["spec"]["template"])).collect()
}

/// Whether all labels of a selector are among these.
#[must_use]
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let empty = Map::new();
    let wanted = selector.as_object().unwrap_or(&empty);
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

/// A value that is text.
///
/// # Panics
/// When it is not.
#[must_use]
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A list; empty where there is none.
#[must_use]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Compares with a committed file below `tests/fixtures/charts`, or writes it with
/// `UPDATE_GOLDEN=1`.
///
/// # Panics
/// When they differ, with the first line that does.
#[track_caller]
pub fn golden(name: &str, rendered: &str) {
    let file = root().join("tests/fixtures/charts").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, rendered).expect("a fixture can be written");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let lines = committed.lines().zip(rendered.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (committed, rendered))| committed != rendered);
    assert!(
        committed == rendered,
        "{name} is not what the chart renders; the first line that differs: {first:?}. Run \
         `UPDATE_GOLDEN=1 tests/run chart`, look at the difference, and commit it"
    );
}
