//! What every cluster has: etcd, the API server, and the controllers. With which flags, and when
//! they are ready. Nodes are not here.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::{Client, Config, config::Kubeconfig};

use super::{
    keys::Keys,
    part::Part,
    tools::{Version, find, tool},
};
use crate::http::{Connection, Request};

/// Where Services get their addresses from.
pub const SERVICES: &str = "10.96.0.0/16";

/// How long a part may take until it is ready; a busy machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How a control plane is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Release of the API server.
    pub version: Version,
    /// The API server's address.
    pub address: IpAddr,
    /// More flags of the API server.
    pub flags: Vec<String>,
    /// Whether pods are to run.
    pub pods: bool,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    /// Certificates and tokens.
    pub keys: Keys,
    /// Where the API server is.
    pub url: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Where etcd listens, without TLS.
    pub etcd: SocketAddr,
    parts: Vec<Part>,
    folder: PathBuf,
}

impl ControlPlane {
    /// Starts it and waits until the API server is ready.
    ///
    /// # Errors
    /// With the log of the part that did not come up.
    pub async fn start(folder: &Path, plan: &Plan) -> Result<Self> {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let keys = Keys::create(folder, &[loopback, plan.address, [10, 96, 0, 1].into()])?;
        // A port can be taken by somebody between its choice and its use.
        let mut attempts = 0;
        loop {
            let etcd = SocketAddr::from((loopback, free_port(loopback)?));
            let api = SocketAddr::from((plan.address, free_port(plan.address)?));
            let url = format!("https://{api}");
            let kubeconfig = folder.join("kubeconfig");
            fs::write(&kubeconfig, keys.admin(&url))?;
            let parts = parts(folder, plan, &keys, etcd, api, &kubeconfig);
            let keys = keys.clone();
            let folder = folder.to_owned();
            let mut plane = Self { keys, url, kubeconfig, etcd, parts, folder };
            match plane.start_all().await {
                Ok(()) => return Ok(plane),
                Err(error) => {
                    attempts += 1;
                    if attempts == 3 || !format!("{error:#}").contains("address already in use") {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn start_all(&mut self) -> Result<()> {
        self.part("etcd")?.start()?;
        self.until_ready("etcd").await?;
        for part in &mut self.parts[1..] {
            part.start()?;
        }
        self.until_ready("kube-apiserver").await
    }

    /// A client for the administrator.
    ///
    /// # Errors
    /// When the kubeconfig is bad.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig, None).await
    }

    /// The part of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn part(&mut self, name: &str) -> Result<&mut Part> {
        let found = self.parts.iter_mut().find(|part| part.name() == name);
        found.with_context(|| format!("there is no part {name}"))
    }

    /// Adds a part that commands can name.
    pub fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// A part's log and last words go here.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until etcd or the API server answers; other parts count as ready when they run.
    ///
    /// # Errors
    /// With the part's log, when it has ended or does not answer in time.
    pub async fn until_ready(&mut self, name: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.part(name)?.runs()?;
            let ready = match name {
                "etcd" => healthy(self.etcd).await,
                "kube-apiserver" => {
                    let asked = async {
                        let request = http::Request::get("/readyz").body(Vec::new())?;
                        anyhow::Ok(self.client().await?.request_text(request).await?)
                    };
                    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
                    matches!(asked, Ok(Ok(text)) if text == "ok")
                }
                _ => true,
            };
            if ready {
                return Ok(());
            }
            if Instant::now() > end {
                let tail = self.part(name)?.tail();
                bail!("{name} is not ready after {} s:\n{tail}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A client with this kubeconfig; at another address than it says, where that is given.
///
/// # Errors
/// When the kubeconfig cannot be read.
pub async fn client(kubeconfig: &Path, url: Option<&str>) -> Result<Client> {
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &Default::default())
            .await?;
    if let Some(url) = url {
        config.cluster_url = url.parse()?;
    }
    Ok(Client::try_from(config)?)
}

async fn healthy(etcd: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(etcd).await else { return false };
    let request = Request::new("GET", "/health");
    let asked = tokio::time::timeout(Duration::from_secs(1), connection.call(&request)).await;
    matches!(asked, Ok(Ok(reply)) if reply.status == 200)
}

fn free_port(address: IpAddr) -> Result<u16> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

fn parts(
    folder: &Path,
    plan: &Plan,
    keys: &Keys,
    etcd: SocketAddr,
    api: SocketAddr,
    kubeconfig: &Path,
) -> Vec<Part> {
    let part = |name: &str, program: &str, flags: &[(&str, String)]| {
        let flags = flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        (name.to_owned(), tool(program), flags)
    };
    let path = |path: &Path| path.display().to_string();
    let etcd_url = format!("http://{etcd}");
    let mut all: Vec<(String, PathBuf, Vec<String>)> = vec![
        part(
            "etcd",
            "etcd",
            &[
                ("data-dir", path(&folder.join("etcd"))),
                ("listen-client-urls", etcd_url.clone()),
                ("advertise-client-urls", etcd_url.clone()),
                ("listen-peer-urls", "http://127.0.0.1:0".into()),
                ("unsafe-no-fsync", "true".into()),
                ("log-level", "warn".into()),
            ],
        ),
        part(
            "kube-apiserver",
            plan.version.api_server(),
            &[
                ("etcd-servers", etcd_url),
                ("bind-address", api.ip().to_string()),
                ("advertise-address", api.ip().to_string()),
                ("secure-port", api.port().to_string()),
                ("tls-cert-file", path(&keys.certificate)),
                ("tls-private-key-file", path(&keys.key)),
                ("cert-dir", path(folder)),
                ("token-auth-file", path(&keys.tokens)),
                ("authorization-mode", "Node,RBAC".into()),
                ("service-account-issuer", "https://kubernetes.default.svc".into()),
                ("service-account-key-file", path(&keys.account_public)),
                ("service-account-signing-key-file", path(&keys.account_key)),
                ("service-cluster-ip-range", SERVICES.into()),
                ("kubelet-preferred-address-types", "InternalIP".into()),
                ("allow-privileged", "true".into()),
                ("profiling", "false".into()),
            ],
        ),
    ];
    // Nobody else may write the address of a lone API server into the Service of the same.
    all[1].2.extend((!plan.pods).then(|| "--endpoint-reconciler-type=none".to_owned()));
    all[1].2.extend(plan.flags.iter().cloned());
    // A folder of KUBEBUILDER_ASSETS has none.
    if find("kube-controller-manager").is_some() {
        all.push(part(
            "kube-controller-manager",
            "kube-controller-manager",
            &[
                ("kubeconfig", path(kubeconfig)),
                ("service-account-private-key-file", path(&keys.account_key)),
                ("root-ca-file", path(&keys.ca)),
                ("flex-volume-plugin-dir", path(&folder.join("volume-plugins"))),
                ("leader-elect", "false".into()),
                ("secure-port", "0".into()),
            ],
        ));
    }
    if plan.pods {
        all.push(part(
            "kube-scheduler",
            "kube-scheduler",
            &[
                ("kubeconfig", path(kubeconfig)),
                ("leader-elect", "false".into()),
                ("secure-port", "0".into()),
            ],
        ));
    }
    all.into_iter().map(|(name, program, flags)| Part::new(folder, &name, program, flags)).collect()
}
