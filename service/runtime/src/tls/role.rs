//! What a part is to the others, and how a certificate says so.

use std::{collections::BTreeSet, fmt};

use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The end of every role's name.
const DOMAIN: &str = ".segment-source.internal";

/// What a part is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Knows the configuration.
    Operator,
    /// Stores, plans and serves events.
    Ingest,
    /// Receives webhooks.
    Edge,
}

impl Role {
    const ALL: [Self; 3] = [Self::Operator, Self::Ingest, Self::Edge];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Ingest => "ingest",
            Self::Edge => "edge",
        }
    }

    /// The DNS name in the certificates of this role. It is never resolved: a client verifies the
    /// server under it, whatever address it dialled.
    #[must_use]
    pub fn server_name(self) -> String {
        format!("{}{DOMAIN}", self.name())
    }

    /// The role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The roles of one certificate; one of a process that does several things has several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Whether this role is among them.
    #[must_use]
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none: a client without a certificate, or one of another program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The roles that a certificate's subject alternative names say. `None` when it is no
    /// certificate.
    pub(super) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let roles = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Role::named(name.strip_suffix(DOMAIN)?),
            _ => None,
        });
        Some(roles.collect())
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl fmt::Display for Roles {
    /// `edge+ingest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        f.write_str(&names.join("+"))
    }
}
