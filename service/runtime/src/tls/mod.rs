//! TLS between our own parts: who a part is ([`Identity`]), which [`Role`]s a certificate has, and
//! connections both ways. Certificates are read here and made elsewhere.
//!
//! Every part has one identity. A role is a name in the certificate, so both sides check it in the
//! way TLS knows anyway: the client verifies the server under the name of the role it wants, and
//! the server reads the roles from the client's certificate.

mod dial;
pub mod folder;
mod identity;
mod incoming;
mod role;

use std::{io, pin::Pin};

use tokio_stream::Stream;

pub use dial::{Dial, connect};
pub use identity::{Authorities, Identities, Identity, InvalidIdentity};
pub use incoming::{ClientCertificates, Connection, Peer, Security, incoming};
pub use role::{Role, Roles};

/// Connections for a gRPC server to serve.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

#[cfg(test)]
mod tests;
