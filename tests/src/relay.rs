//! A name with several addresses, as a headless Service has: connections to it go to one target
//! after the other. Which targets there are can change; connections that are open stay. It can also be
//! a network that is cut: bytes stop without a word.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    targets: Arc<Mutex<Targets>>,
    open: watch::Sender<()>,
    paused: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Targets {
    all: Vec<SocketAddr>,
    next: usize,
}

impl Relay {
    /// One to these targets.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn new(all: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let targets = Arc::new(Mutex::new(Targets { all: all.to_owned(), next: 0 }));
        let known = Arc::clone(&targets);
        let open = watch::Sender::new(());
        let cut = open.subscribe();
        let paused = watch::Sender::new(false);
        let pauses = paused.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (known, mut cut) = (Arc::clone(&known), cut.clone());
                let mut pauses = pauses.clone();
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let count = known.lock().expect("no panic while locked").all.len();
                    for _ in 0..count {
                        let Some(target) = next(&known) else { return };
                        // A target that is gone takes no connection, and the next one has its turn.
                        if let Ok(mut far) = TcpStream::connect(target).await {
                            _ = near.set_nodelay(true);
                            _ = far.set_nodelay(true);
                            let mut copied = pin!(copy_bidirectional(&mut near, &mut far));
                            loop {
                                let flows = !*pauses.borrow_and_update();
                                tokio::select! {
                                    _ = &mut copied, if flows => return,
                                    _ = cut.changed() => return,
                                    Ok(()) = pauses.changed() => {}
                                }
                            }
                        }
                    }
                });
            }
        });
        Self { address, targets, open, paused, task }
    }

    /// From now on to these targets.
    ///
    /// # Panics
    /// Never.
    pub fn to(&self, all: &[SocketAddr]) {
        self.targets.lock().expect("no panic while locked").all = all.to_owned();
    }

    /// Ends every connection that is open.
    pub fn cut(&self) {
        self.open.send_replace(());
    }

    /// Stops all bytes, of new connections too, or lets them go on. Nobody is told.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// What `serve --config` is told.
    #[must_use]
    pub fn config(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn next(targets: &Mutex<Targets>) -> Option<SocketAddr> {
    let mut targets = targets.lock().expect("no panic while locked");
    targets.next += 1;
    let at = targets.next % targets.all.len().max(1);
    targets.all.get(at).copied()
}
