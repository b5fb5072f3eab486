//! Where a store is: a folder, or a Redis with all that it takes to get in. Parsed once, where the
//! command line is read; printing one never shows its password. Reading the text is `parse`.

mod parse;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};

pub use parse::InvalidTarget;

/// Where the store is, as `--store` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAt {
    /// The embedded store in this folder.
    Folder(PathBuf),
    /// A Redis or Valkey.
    Redis(Target),
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Redis(target) => target.fmt(f),
        }
    }
}

/// A Redis or Valkey and what it takes to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    place: Place,
    username: Option<String>,
    password: Option<String>,
    tls: bool,
    ca: Option<Vec<u8>>,
    database: u16,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server.
    Single(Node),
    /// A cluster, found through any of these nodes; there is at least one.
    Cluster(Vec<Node>),
    /// One server of this machine.
    Unix(PathBuf),
}

/// Host and port of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// A name, or an address (IPv6 without brackets).
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Target {
    /// Where it listens.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The ACL user; without one Redis takes `default`.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(super) fn ca(&self) -> Option<&[u8]> {
        self.ca.as_deref()
    }

    /// The number of the database: 0 in a cluster.
    #[must_use]
    pub fn database(&self) -> u16 {
        self.database
    }

    /// With user and password that were given beside the address.
    ///
    /// # Errors
    /// When the address has them as well, or there is a user without a password.
    pub fn with_credentials(
        mut self,
        username: Option<String>,
        password: Option<String>,
    ) -> Result<Self, InvalidTarget> {
        if username.is_some() && self.username.is_some() {
            return Err(InvalidTarget::Twice("user"));
        }
        if password.is_some() && self.password.is_some() {
            return Err(InvalidTarget::Twice("password"));
        }
        self.username = self.username.or(username);
        self.password = self.password.or(password);
        if self.username.is_some() && self.password.is_none() {
            return Err(InvalidTarget::NoPassword);
        }
        Ok(self)
    }

    /// Trusting only these authorities (PEM) instead of the system's.
    ///
    /// # Errors
    /// When the address is not one of TLS, or there is no certificate in the text.
    pub fn with_ca(mut self, pem: Vec<u8>) -> Result<Self, InvalidTarget> {
        if !self.tls {
            return Err(InvalidTarget::CaWithoutTls);
        }
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            certificate.map_err(|_| InvalidTarget::Ca)?;
            count += 1;
        }
        if count == 0 {
            return Err(InvalidTarget::Ca);
        }
        self.ca = Some(pem);
        Ok(self)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.username.as_deref().map(|user| format!("{user}@")).unwrap_or_default();
        let secure = if self.tls { "s" } else { "" };
        match &self.place {
            Place::Single(node) => write!(f, "redis{secure}://{user}{node}")?,
            Place::Cluster(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(Node::to_string).collect();
                write!(f, "redis{secure}-cluster://{user}{}", nodes.join(","))?;
            }
            Place::Unix(path) => write!(f, "redis+unix://{user}{}", path.display())?,
        }
        match (&self.place, self.database) {
            (_, 0) => Ok(()),
            (Place::Unix(_), database) => write!(f, "?db={database}"),
            (_, database) => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}")?;
        if self.password.is_some() {
            f.write_str(", with password")?;
        }
        if self.ca.is_some() {
            f.write_str(", with CA")?;
        }
        f.write_str(")")
    }
}
