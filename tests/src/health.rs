//! What GitOps tools make of an object: kstatus (Flux), and Argo CD by our script.
//! `tools/health` is the program that asks both.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{chart::chart, kube::tools::tool};

/// What both say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What kstatus says: `Current`, `InProgress`, `Failed`.
    pub kstatus: String,
    /// What Argo CD says: `Healthy`, `Progressing`, `Degraded`.
    pub argo: String,
    /// Argo CD's words for it.
    pub message: String,
}

/// Asks both about an object as it is stored.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn health(object: &Value) -> Health {
    let mut child = Command::new(tool("health"))
        .arg(chart("argo-cd/health.lua"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let bytes = serde_json::to_vec(object).expect("objects are JSON");
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("the tool reads");
    let output = child.wait_with_output().expect("the tool ends");
    assert!(output.status.success(), "{object}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it answers in JSON");
    let text = |path: &str| answer.pointer(path).and_then(Value::as_str).expect(path).to_owned();
    Health { kstatus: text("/kstatus"), argo: text("/argo/status"), message: text("/argo/message") }
}
