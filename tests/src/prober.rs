//! Sends events to a source all the time, one after the other, each until it is taken or refused,
//! as Segment does: what heals is tried again, what does not is lost.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    http::Connection,
    server::Server,
    sign::{SECRET, fresh_id, sign, track},
    wait::eventually,
};

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    seen: Arc<Mutex<Probed>>,
    end: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// What became of its events.
#[derive(Clone, Debug, Default)]
pub struct Probed {
    /// Their messageIds, as far as they were accepted.
    pub accepted: Vec<String>,
    /// How many of them were known already: a try before was taken, but its answer did not come.
    pub duplicates: u64,
    /// Answers after which they were sent again.
    pub healing: Vec<u16>,
    /// Connections that broke or were not to be had.
    pub broken: u64,
    /// Answers after which Segment gives up.
    pub lost: Vec<(u16, String)>,
}

impl Prober {
    /// One that signs with the usual secret.
    #[must_use]
    pub fn start(server: &Server, source: &str) -> Self {
        let seen: Arc<Mutex<Probed>> = Arc::default();
        let end: Arc<AtomicBool> = Arc::default();
        let (address, target) = (server.http, server.target(source));
        let probe = probe(address, target, Arc::clone(&seen), Arc::clone(&end));
        Self { seen, end, task: tokio::spawn(probe) }
    }

    /// What there is until now.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn seen(&self) -> Probed {
        self.seen.lock().expect("no panic while locked").clone()
    }

    /// Waits until this many more events were accepted than there are now.
    pub async fn more(&self, events: usize) {
        let wanted = self.seen().accepted.len() + events;
        eventually("the prober's events are accepted", || async {
            (self.seen().accepted.len() >= wanted).then_some(())
        })
        .await;
    }

    /// Ends it, once the event under way is taken.
    ///
    /// # Panics
    /// When it failed.
    pub async fn stop(mut self) -> Probed {
        self.end.store(true, Ordering::Relaxed);
        (&mut self.task).await.expect("it ends by itself");
        self.seen()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn probe(
    address: SocketAddr,
    target: String,
    seen: Arc<Mutex<Probed>>,
    end: Arc<AtomicBool>,
) {
    let mut connection = None;
    while !end.load(Ordering::Relaxed) {
        let id = fresh_id();
        let body = track(&id, "user-1", "Signed Up").to_string();
        let signature = sign(SECRET.as_bytes(), body.as_bytes());
        let request = crate::server::webhook_to(&target)
            .header("X-Signature", &signature)
            .body(body.as_bytes());
        loop {
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => Connection::open(address).await,
            };
            let reply = match open {
                Ok(mut open) => {
                    let reply = open.call(&request).await;
                    if reply.as_ref().is_ok_and(|it| it.header("connection") != Some("close")) {
                        connection = Some(open);
                    }
                    reply
                }
                Err(error) => Err(error),
            };
            {
                let mut seen = seen.lock().expect("no panic while locked");
                match reply {
                    Ok(reply) if reply.status == 202 => {
                        seen.duplicates += reply.counts().1;
                        seen.accepted.push(id);
                        break;
                    }
                    Ok(reply) if reply.status >= 500 || reply.status == 429 => {
                        seen.healing.push(reply.status);
                    }
                    Ok(reply) => {
                        seen.lost.push((reply.status, reply.text()));
                        break;
                    }
                    Err(_) => seen.broken += 1,
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A test's machine has other things to do, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
