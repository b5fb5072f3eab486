//! The sockets of a process, and the rule which of them may lack TLS.

use std::{net::SocketAddr, slice};

use anyhow::bail;
use segment_source_runtime::net::bind;
use tokio::net::TcpListener;

use crate::args::{Role, Serve};

/// The bound sockets; those its role has no use for are `None`.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) http: Option<TcpListener>,
    pub(crate) grpc: Option<TcpListener>,
    pub(crate) admin: TcpListener,
}

/// Where a process listens; with port 0 asked for, the port it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Webhooks (roles all, edge).
    pub http: Option<SocketAddr>,
    /// gRPC (roles all, ingest).
    pub grpc: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Listeners {
    /// Binds what the role needs.
    ///
    /// # Errors
    /// Names the flag and the address that cannot be bound.
    pub(crate) async fn bind(args: &Serve) -> anyhow::Result<Self> {
        refuse_foreign_plaintext(args)?;
        Ok(Self {
            http: match args.role.has_edge() {
                true => Some(bind("--http", &args.http).await?),
                false => None,
            },
            grpc: match args.role.has_ingest() {
                true => Some(bind("--grpc", &args.grpc).await?),
                false => None,
            },
            admin: bind("--admin", &args.admin).await?,
        })
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> anyhow::Result<Addresses> {
        let bound = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok(Addresses {
            http: bound(&self.http)?,
            grpc: bound(&self.grpc)?,
            admin: self.admin.local_addr()?,
        })
    }
}

/// gRPC carries what was verified, and believes it; without TLS it must not leave the machine.
fn refuse_foreign_plaintext(args: &Serve) -> anyhow::Result<()> {
    let (flag, addresses) = match args.role {
        Role::All | Role::Ingest => ("--grpc", slice::from_ref(&args.grpc)),
        Role::Edge => ("--ingest", args.ingest.as_slice()),
    };
    match addresses.iter().find(|address| !address.is_loopback()) {
        Some(address) if args.tls.is_none() => bail!(
            "{flag} {address} is beyond this machine, and gRPC without TLS stays on it: whoever \
             reaches it can read events and submit them as verified. Give the folder of a \
             certificate with --tls, or use a loopback address"
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::refuse_foreign_plaintext;
    use crate::args::{Args, Command};

    #[test]
    fn grpc_without_tls_stays_on_the_machine() {
        let check = |flags: &str, allowed: bool| {
            let line = format!("segment-source serve {flags}");
            let Command::Serve(args) = Args::parse_from(line.split_whitespace()).command else {
                panic!("no serve: {line}");
            };
            assert_eq!(refuse_foreign_plaintext(&args).is_ok(), allowed, "{line}");
        };
        check("", true);
        check("--http 0.0.0.0:8080 --admin 0.0.0.0:9091", true);
        check("--grpc localhost:9090", true);
        check("--grpc 0.0.0.0:9090", false);
        check("--grpc [::]:9090", false);
        check("--role ingest --grpc 10.0.0.1:9090", false);
        check("--grpc 0.0.0.0:9090 --tls certificate", true);
        check("--role edge --ingest 127.0.0.1:9090", true);
        check("--role edge --ingest 127.0.0.1:9090 --grpc 0.0.0.0:9090", true);
        check("--role edge --ingest ingest:9090", false);
        check("--role edge --ingest 127.0.0.1:9090,10.0.0.1:9090", false);
        check("--role edge --ingest ingest:9090 --tls certificate", true);
    }
}
