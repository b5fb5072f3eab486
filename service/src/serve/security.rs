//! Who this process is to the others (`--tls`), and what must not go without.

use anyhow::{Context as _, bail};
use segment_source_runtime::tls::{
    self, ClientCertificates, Dial, Identities, Security, folder::Follower,
};
use tokio::task::spawn_blocking;

use crate::args::{Role, Serve};

/// The identity of this process, if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Own(Option<Identities>);

impl Own {
    /// Reads the folder of `--tls`; the follower keeps it up to date.
    ///
    /// # Errors
    /// When it cannot be read, or is a certificate of another role.
    pub(crate) async fn open(args: &Serve) -> anyhow::Result<(Self, Option<Follower>)> {
        let Some(folder) = args.tls.clone() else { return Ok((Self(None), None)) };
        let shown = folder.display().to_string();
        let opened = spawn_blocking(move || tls::folder::open(&folder)).await?;
        let (identities, follower) = opened.context("--tls")?;
        let roles = identities.borrow().roles().clone();
        let needed = needed(args.role);
        if !needed.iter().all(|role| roles.contains(*role)) {
            let needed: tls::Roles = needed.into_iter().collect();
            bail!(
                "--tls {shown}: the certificate is for `{roles}`, and --role {} needs one for \
                 `{needed}`; give it the DNS names ROLE.segment-source.internal",
                args.role.name()
            );
        }
        Ok((Self(Some(identities)), Some(follower)))
    }

    /// How to connect to the ingest.
    pub(crate) fn dial(&self) -> Dial {
        self.0.clone().map_or(Dial::Plaintext, Dial::Mutual)
    }

    /// How the gRPC listener takes connections. Who has no certificate needs a token.
    pub(crate) fn listen(&self) -> Security {
        match self.0.clone() {
            Some(identities) => Security::Tls { identities, clients: ClientCertificates::Optional },
            None => Security::Plaintext,
        }
    }

    /// By what the operator knows this process; `None` for one on this machine without TLS.
    ///
    /// # Errors
    /// When the operator wants a certificate, and there is none.
    pub(crate) fn to_operator(&self, secure: bool) -> anyhow::Result<Option<Identities>> {
        match (secure, &self.0) {
            (false, _) => Ok(None),
            (true, Some(identities)) => Ok(Some(identities.clone())),
            (true, None) => bail!(
                "--config https://... needs --tls DIR: the operator tells configuration only to \
                 those that have a certificate"
            ),
        }
    }
}

fn needed(role: Role) -> Vec<tls::Role> {
    let edge = role.has_edge().then_some(tls::Role::Edge);
    edge.into_iter().chain(role.has_ingest().then_some(tls::Role::Ingest)).collect()
}
