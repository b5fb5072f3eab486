//! A real API server without nodes, for tests: started once a process or once a test, asked as the
//! administrator or as a ServiceAccount, stopped and started in between.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{io::AsyncWriteExt, sync::OnceCell};

use super::{
    control::client,
    etcd::{self, Stored},
    keeper::{Facts, Keeper},
    keys::kubeconfig,
    tools::{Version, available, find, tool},
};
use crate::command::Finished;

/// Long enough for `helm --wait` on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// An API server with etcd and controllers (garbage collection, namespaces, ServiceAccounts).
/// Dropping it ends them; a shared one ends with the test process.
#[derive(Debug)]
pub struct ApiServer {
    keeper: Keeper,
    facts: Facts,
}

impl ApiServer {
    /// The one that all tests of this process share, each in a namespace of its own; `None`, after a
    /// line that says so, where the programs are missing.
    ///
    /// # Panics
    /// When it does not come up, or the programs are missing with `CI=true`.
    pub async fn shared(version: Version) -> Option<&'static Self> {
        static NEWEST: OnceCell<Option<ApiServer>> = OnceCell::const_new();
        static OLDEST: OnceCell<Option<ApiServer>> = OnceCell::const_new();
        let cell = match version {
            Version::Newest => &NEWEST,
            Version::Oldest => &OLDEST,
        };
        cell.get_or_init(|| Self::start(version)).await.as_ref()
    }

    /// One for this test alone, which may stop it.
    ///
    /// # Panics
    /// As [`ApiServer::shared`].
    pub async fn start(version: Version) -> Option<Self> {
        Self::start_with(version, &[]).await
    }

    /// One for this test alone, with more flags of kube-apiserver.
    ///
    /// # Panics
    /// As [`ApiServer::shared`].
    pub async fn start_with(version: Version, flags: &[&str]) -> Option<Self> {
        if !available(&["etcd", version.api_server(), "kubectl"]) {
            return None;
        }
        let mut arguments = vec!["api-server".to_owned()];
        arguments.extend((version == Version::Oldest).then(|| "--oldest".to_owned()));
        arguments.extend(flags.iter().map(|flag| format!("--flag={flag}")));
        let (keeper, facts) = Keeper::start(arguments).await;
        Some(Self { keeper, facts })
    }

    /// Whether there are controllers: garbage collection, deletion of namespaces. A folder of
    /// `KUBEBUILDER_ASSETS` alone has none.
    #[must_use]
    pub fn has_controllers(&self) -> bool {
        find("kube-controller-manager").is_some()
    }

    /// Where it is, its files, its etcd.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The administrator's kubeconfig, for `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.facts.kubeconfig
    }

    /// A client of the administrator. It belongs to the calling test's runtime. It asks again and
    /// again while the server is down, except for watches.
    ///
    /// # Panics
    /// Never: the kubeconfig is ours.
    pub async fn client(&self) -> Client {
        client(&self.facts.kubeconfig, None).await.expect("the kubeconfig is ours")
    }

    /// Makes a namespace whose name begins with `prefix`, and says its name.
    pub async fn namespace(&self, prefix: &str) -> String {
        namespace(&self.client().await, prefix).await
    }

    /// A kubeconfig with a token (TokenRequest, one hour) of a ServiceAccount that exists.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub async fn account_kubeconfig(&self, namespace: &str, account: &str) -> PathBuf {
        let token = token(&self.client().await, namespace, account).await;
        let ca = fs::read_to_string(&self.facts.ca).expect("the CA's certificate is there");
        let path = self.facts.folder.join(format!("{namespace}-{account}.kubeconfig"));
        let text = kubeconfig(&self.facts.url, &ca, &token);
        fs::write(&path, text).expect("the folder is ours");
        path
    }

    /// A client with a token of a ServiceAccount that exists.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub async fn account(&self, namespace: &str, account: &str) -> Client {
        let path = self.account_kubeconfig(namespace, account).await;
        client(&path, None).await.expect("the kubeconfig is ours")
    }

    /// Runs kubectl as the administrator with this text on its standard input.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Finished {
        let mut command = bound(tool("kubectl"));
        command.args(arguments);
        run(command, &self.facts, stdin).await
    }

    /// Kills a part: `kube-apiserver`, `kube-controller-manager` or `etcd`. Only for a server of
    /// one's own.
    pub async fn stop(&self, part: &str) {
        self.keeper.tell(format!("stop {part}")).await;
    }

    /// Starts a part that was stopped, at the same address with the same data, and waits until it is
    /// ready.
    pub async fn start_again(&self, part: &str) {
        self.keeper.tell(format!("start {part}")).await;
    }

    /// Restarts the API server alone: watches end, its caches are empty.
    pub async fn restart(&self) {
        self.stop("kube-apiserver").await;
        self.start_again("kube-apiserver").await;
    }

    /// Makes etcd forget all but the present revision. A watch from an older one ends in `410 Gone`
    /// only where the API server's cache does not know it either: after [`ApiServer::restart`].
    pub async fn compact(&self) {
        etcd::compact(self.facts.etcd).await;
    }

    /// Everything etcd has, as stored.
    pub async fn etcd_dump(&self) -> Vec<Stored> {
        etcd::dump(self.facts.etcd).await
    }
}

/// Makes a namespace whose name begins with `prefix`.
pub(super) async fn namespace(client: &Client, prefix: &str) -> String {
    let name = Some(format!("{prefix}-"));
    let metadata = ObjectMeta { generate_name: name, ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let made = namespaces.create(&PostParams::default(), &namespace).await;
    made.expect("a namespace is made").metadata.name.expect("it has a name")
}

async fn token(client: &Client, namespace: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    made.expect("a token is made").status.expect("it is in the status").token
}

/// A command that is killed when the calling thread ends, so that none outlives the test.
pub(super) fn bound(program: impl AsRef<OsStr>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).kill_on_drop(true);
    command
}

/// Runs a command with this cluster's kubeconfig and a home folder that goes with the cluster.
pub(super) async fn run(
    mut command: tokio::process::Command,
    facts: &Facts,
    stdin: &str,
) -> Finished {
    command.env("KUBECONFIG", &facts.kubeconfig).env("HOME", &facts.folder);
    for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command runs");
    let mut input = child.stdin.take().expect("stdin is piped");
    let text = stdin.to_owned();
    let writer = tokio::spawn(async move {
        // A command that does not read its input may have closed it.
        _ = input.write_all(text.as_bytes()).await;
    });
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the command ends").expect("the command's output is read");
    writer.abort();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
