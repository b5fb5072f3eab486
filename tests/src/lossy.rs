//! A way to a server on which answers get lost: the server has done what it was asked and has said
//! so, and then the connection is gone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::wait::eventually;

/// Which answers may get lost: of some bytes that the server sends, how many there are.
pub type Which = fn(&[u8]) -> u64;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Lossy {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    /// So many are still to be lost.
    wanted: AtomicU64,
    /// Connections that ended instead of an answer.
    cuts: AtomicU64,
    /// Answers that nobody got.
    lost: AtomicU64,
}

impl Counts {
    fn take(&self) -> bool {
        let one_less = |wanted: u64| wanted.checked_sub(1);
        self.wanted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

impl Lossy {
    /// A way to this port of loopback. Nothing is lost until it is asked for.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn new(port: u16, which: Which) -> Self {
        Self::on(Self::listener().await, port, which)
    }

    /// A port of loopback, for those who must know it before there is a server.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a free port")
    }

    /// As [`Lossy::new`], on this listener.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn on(listener: TcpListener, port: u16, which: Which) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let counts = Arc::new(Counts::default());
        let known = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let counts = Arc::clone(&known);
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await {
                        serve(near, far, which, &counts).await;
                    }
                });
            }
        });
        Self { address, counts, task }
    }

    /// From now on so many answers are lost, each with its connection; 0: no more.
    pub fn lose(&self, count: u64) {
        self.counts.wanted.store(count, Ordering::SeqCst);
    }

    /// Loses the next one, and waits until it is.
    pub async fn lose_one(&self) {
        let before = self.cuts();
        self.lose(1);
        eventually("an answer is lost", || async { (self.cuts() > before).then_some(()) }).await;
    }

    /// How many connections ended instead of an answer.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.counts.cuts.load(Ordering::SeqCst)
    }

    /// How many answers were lost with them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(near: TcpStream, far: TcpStream, which: Which, counts: &Counts) {
    _ = near.set_nodelay(true);
    _ = far.set_nodelay(true);
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
        (near.into_split(), far.into_split());
    let answers = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_far.read(&mut bytes).await {
            let answers = which(&bytes[..count]);
            if answers > 0 && counts.take() {
                counts.lost.fetch_add(answers, Ordering::SeqCst);
                counts.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_near.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    // Both ways end together, when the futures are dropped with their halves.
    tokio::select! {
        () = answers => {}
        _ = copy(&mut from_near, &mut to_far) => {}
    }
}
