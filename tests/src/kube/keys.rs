//! Certificates, keys and tokens of one cluster, made afresh for each.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// The name of a cluster's only node.
pub const NODE: &str = "node";

/// The files, and the administrator's and the node's tokens.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Certificate of the CA that signed the API server's.
    pub ca: PathBuf,
    /// The API server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Signs tokens of ServiceAccounts.
    pub account_key: PathBuf,
    /// Verifies them.
    pub account_public: PathBuf,
    /// The API server's list of tokens.
    pub tokens: PathBuf,
    admin: String,
    node: String,
    ca_pem: String,
}

impl Keys {
    /// Makes them, for an API server at these addresses.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn create(folder: &Path, addresses: &[IpAddr]) -> Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, "test cluster");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut server = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.subject_alt_names.extend(addresses.iter().map(|it| SanType::IpAddress(*it)));
        let certificate = server.signed_by(&key, &issuer)?;

        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let accounts = KeyPair::generate()?;
        let (admin, node) = (random()?, random()?);
        let tokens = format!(
            "{admin},admin,admin,system:masters\n\
             {node},system:node:{NODE},node,system:nodes\n"
        );
        Ok(Self {
            ca: file("ca.crt", &ca_pem)?,
            certificate: file("apiserver.crt", &certificate.pem())?,
            key: file("apiserver.key", &key.serialize_pem())?,
            account_key: file("accounts.key", &accounts.serialize_pem())?,
            account_public: file("accounts.pub", &accounts.public_key_pem())?,
            tokens: file("tokens.csv", &tokens)?,
            admin,
            node,
            ca_pem,
        })
    }

    /// A kubeconfig of the administrator.
    #[must_use]
    pub fn admin(&self, url: &str) -> String {
        kubeconfig(url, &self.ca_pem, &self.admin)
    }

    /// A kubeconfig of the node.
    #[must_use]
    pub fn node(&self, url: &str) -> String {
        kubeconfig(url, &self.ca_pem, &self.node)
    }
}

/// A kubeconfig for whoever has this token.
#[must_use]
pub fn kubeconfig(url: &str, ca_pem: &str, token: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: '{url}', certificate-authority-data: {ca}}}}}]
users: [{{name: user, user: {{token: '{token}'}}}}]
contexts: [{{name: test, context: {{cluster: test, user: user}}}}]
current-context: test
"
    )
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
