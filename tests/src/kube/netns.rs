//! Sockets in another network namespace: a socket stays in the one that its thread was in, so a
//! thread goes there, connects or listens, and ends.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    path::Path,
    path::PathBuf,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// Connects to an address as it is called inside of the namespace.
///
/// # Errors
/// Those of the system.
pub async fn connect(netns: &Path, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = inside(netns, move || std::net::TcpStream::connect(address)).await?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// A UDP socket that is inside of the namespace, connected to an address there.
///
/// # Errors
/// Those of the system.
pub async fn udp(netns: &Path, address: SocketAddr) -> io::Result<UdpSocket> {
    let open = move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        Ok(socket)
    };
    let socket = inside(netns, open).await?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Listens at an address inside of the namespace, on a free port.
///
/// # Errors
/// Those of the system.
pub async fn listen(netns: &Path, address: IpAddr) -> io::Result<TcpListener> {
    let listener = inside(netns, move || std::net::TcpListener::bind((address, 0))).await?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Does something in a thread that has gone into the namespace.
async fn inside<T: Send + 'static>(
    netns: &Path,
    action: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let netns = File::open(netns)?;
    let (done, result) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let entered = move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network));
        // Nobody waits any more when the test was given up.
        _ = done.send(entered.map_err(io::Error::from).and_then(|()| action()));
    });
    result.await.map_err(io::Error::other)?
}

/// An address on loopback whose connections end at an address inside of the namespace, until this
/// is dropped.
#[derive(Debug)]
pub struct Forward {
    /// Where to connect to.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Begins to forward.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn to(netns: PathBuf, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut outside, _)) = listener.accept().await {
                let netns = netns.clone();
                connections.spawn(async move {
                    // A refused connection is one that ends at once.
                    if let Ok(mut inside) = connect(&netns, target).await {
                        _ = outside.set_nodelay(true);
                        _ = copy_bidirectional(&mut outside, &mut inside).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task })
    }

    /// Forwards until the test's runtime ends.
    #[must_use]
    pub fn keep(self) -> SocketAddr {
        let address = self.address;
        std::mem::forget(self);
        address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
