//! Accepted connections, with or without TLS, and what is known of the other end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, unfold};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::StreamExt as _;
use tokio_util::either::Either;
use tonic::transport::server::{Connected, TcpIncoming};
use tracing::debug;

use super::{Identities, Incoming, Roles};

/// Handshakes under way at the same time; more connections wait to be accepted.
const HANDSHAKES: usize = 64;
/// How long one may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Silence after which the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How a listener's connections are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all: for loopback addresses only.
    Plaintext,
    /// By the newest identity.
    Tls {
        /// Who we are.
        identities: Identities,
        /// Whether clients must have a certificate.
        clients: ClientCertificates,
    },
}

/// Whether clients must have a certificate. One that they have must be of a known authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They must.
    Required,
    /// They may.
    Optional,
}

/// The other end of a connection; tonic puts it into the extensions of every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it is, if that is anywhere.
    pub address: Option<SocketAddr>,
    /// What its certificate says it is; none without a certificate.
    pub roles: Roles,
    /// Whether the connection is by TLS.
    pub encrypted: bool,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    io: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    peer: Peer,
}

/// Accepts connections for as long as it is polled. A client whose handshake fails is logged and
/// left; the stream itself fails only with the listener.
#[must_use]
pub fn incoming(listener: TcpListener, security: Security) -> Incoming {
    let sockets =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    match security {
        Security::Plaintext => Box::pin(sockets.map(|socket| socket.map(Connection::plaintext))),
        Security::Tls { identities, clients } => {
            let accept = move |socket| {
                let config = identities.borrow().server(clients);
                handshake(TlsAcceptor::from(config), socket)
            };
            Box::pin(unfold((sockets, FuturesUnordered::new(), accept), next))
        }
    }
}

/// The next connection whose handshake is done.
async fn next<F, A>(
    (mut sockets, mut handshakes, accept): (TcpIncoming, FuturesUnordered<F>, A),
) -> Option<(io::Result<Connection>, (TcpIncoming, FuturesUnordered<F>, A))>
where
    F: Future<Output = Option<Connection>>,
    A: Fn(TcpStream) -> F,
{
    loop {
        tokio::select! {
            socket = sockets.next(), if handshakes.len() < HANDSHAKES => match socket? {
                Ok(socket) => handshakes.push(accept(socket)),
                Err(error) => return Some((Err(error), (sockets, handshakes, accept))),
            },
            Some(done) = handshakes.next(), if !handshakes.is_empty() => {
                if let Some(connection) = done {
                    return Some((Ok(connection), (sockets, handshakes, accept)));
                }
            }
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, socket: TcpStream) -> Option<Connection> {
    let address = socket.peer_addr().ok();
    match timeout(HANDSHAKE_TIME, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let own = certificates.and_then(|chain| chain.first());
            let roles = own.and_then(|der| Roles::of_certificate(der)).unwrap_or_default();
            let peer = Peer { address, roles, encrypted: true };
            Some(Connection { io: Either::Right(Box::new(stream)), peer })
        }
        Ok(Err(error)) => {
            debug!(?address, "TLS handshake failed: {error}");
            None
        }
        Err(_elapsed) => {
            debug!(?address, "TLS handshake took longer than {HANDSHAKE_TIME:?}");
            None
        }
    }
}

impl Connection {
    fn plaintext(socket: TcpStream) -> Self {
        let peer = Peer { address: socket.peer_addr().ok(), ..Peer::default() };
        Self { io: Either::Left(socket), peer }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
