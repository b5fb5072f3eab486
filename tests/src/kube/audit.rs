//! What accounts have asked of an API server, from its audit log: every request, and whether it was
//! allowed.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{api::ApiServer, tools::Version};

/// ServiceAccounts only, without what requests say.
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ['system:serviceaccounts']}
  - {level: None}
";

/// An API server that writes down what ServiceAccounts ask.
#[derive(Debug)]
pub struct Audited {
    /// The server.
    pub api: ApiServer,
    log: PathBuf,
    _folder: TempDir,
}

/// One request, as RBAC sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Such as `get`, `list`, `watch`.
    pub verb: String,
    /// API group; empty for the first one.
    pub group: String,
    /// Plural, with a slash and the subresource where there is one.
    pub resource: String,
    /// Empty for what is in no namespace, and for all of them.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// Whether RBAC let it through.
    pub allowed: bool,
}

impl Audited {
    /// One for this test alone; `None`, after a line that says so, where the programs are missing.
    ///
    /// # Panics
    /// As [`ApiServer::shared`].
    pub async fn start(version: Version) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
        fs::write(&policy, POLICY).expect("the folder is ours");
        let flags = [
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", log.display()),
            "--audit-log-mode=blocking".to_owned(),
        ];
        let flags = flags.each_ref().map(String::as_str);
        let api = ApiServer::start_with(version, &flags).await?;
        Some(Self { api, log, _folder: folder })
    }

    /// What an account has asked so far, in order.
    ///
    /// # Panics
    /// When the log is none.
    #[must_use]
    pub fn asked(&self, namespace: &str, account: &str) -> Vec<Asked> {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        // The last line may be half written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        events.filter(|it: &Value| it["user"]["username"] == user).map(|it| asked(&it)).collect()
    }
}

fn asked(event: &Value) -> Asked {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (resource, part) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    Asked {
        verb: text("/verb").to_owned(),
        group: text("/objectRef/apiGroup").to_owned(),
        resource: if part.is_empty() { resource.to_owned() } else { format!("{resource}/{part}") },
        namespace: text("/objectRef/namespace").to_owned(),
        name: text("/objectRef/name").to_owned(),
        allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
    }
}
