//! Connecting to another part.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{Authorities, Identities, Role};
use crate::net::Address;

/// How long one address may take to answer, and then the handshake.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How a client secures its connections.
#[derive(Clone, Debug)]
pub enum Dial {
    /// Not at all: for loopback addresses only.
    Plaintext,
    /// Both sides have certificates; the newest identity is used.
    Mutual(Identities),
    /// Only the server has one; the client proves itself otherwise.
    Server(Authorities),
}

impl Dial {
    fn config(&self) -> Option<Arc<ClientConfig>> {
        match self {
            Self::Plaintext => None,
            Self::Mutual(identities) => Some(identities.borrow().client()),
            Self::Server(authorities) => Some(authorities.config()),
        }
    }
}

/// A channel that connects when it is first used, and again whenever it must. With TLS the server
/// must be of the role, whatever the address. Each time the name is resolved anew, and all its
/// addresses are tried in turn. Set on the endpoint what else should hold; its URI is not dialled.
#[must_use]
pub fn connect(endpoint: &Endpoint, address: &Address, dial: Dial, server: Role) -> Channel {
    let address = address.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (address, config) = (address.clone(), dial.config());
        async move {
            let socket = open(&address).await?;
            let Some(config) = config else { return Ok(TokioIo::new(Either::Left(socket))) };
            let name = ServerName::try_from(server.server_name()).map_err(io::Error::other)?;
            let handshake = TlsConnector::from(config).connect(name, socket);
            match timeout(CONNECT_TIME, handshake).await {
                Ok(Ok(stream)) => Ok(TokioIo::new(Either::Right(stream))),
                Ok(Err(error)) => {
                    let wrong = format!("TLS with {address} as {} failed: {error}", server.name());
                    Err(io::Error::new(error.kind(), wrong))
                }
                Err(_elapsed) => Err(late(&address)),
            }
        }
    });
    endpoint.connect_with_connector_lazy(connector)
}

fn late(address: &Address) -> io::Error {
    let what = format!("{address} did not answer in {CONNECT_TIME:?}");
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// A connection to the first of its addresses that takes one.
async fn open(address: &Address) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
    for one in lookup_host((address.host(), address.port())).await? {
        match timeout(CONNECT_TIME, TcpStream::connect(one)).await {
            Ok(Ok(socket)) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Ok(Err(error)) => failure = error,
            Err(_elapsed) => failure = late(address),
        }
    }
    Err(failure)
}
