//! Senders that post events until each is accepted, as Segment does, while something happens to the
//! program.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    http::{Connection, Request},
    server::{signed, target},
    sign::{fresh_id, track},
    wait::{eventually, soon},
};

/// So many send at once.
const SENDERS: usize = 8;
/// An edge that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// Senders that go on until they are told to end. Each event is of a user of its own, whose id is the
/// event's; an answer other than 202 is counted, and the event is sent again, to the next edge.
#[derive(Debug)]
pub struct Senders {
    end: watch::Sender<bool>,
    senders: JoinSet<Vec<String>>,
    accepted: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Senders {
    /// Starts them: to these edges, for these sources in turns, with a pause after each event.
    #[must_use]
    pub fn start(edges: &[SocketAddr], sources: &[String], pause: Duration) -> Self {
        let mut senders = Self {
            end: watch::Sender::new(false),
            senders: JoinSet::new(),
            accepted: Arc::default(),
            refused: Arc::default(),
        };
        for first in 0..SENDERS {
            let (edges, sources) = (edges.to_vec(), sources.to_vec());
            let end = senders.end.subscribe();
            let (accepted, refused) = (senders.accepted.clone(), senders.refused.clone());
            senders.senders.spawn(async move {
                let (mut sent, mut at) = (Vec::new(), first);
                while !*end.borrow() {
                    let id = fresh_id();
                    let body = track(&id, &id, "Signed Up").to_string();
                    let source = &sources[sent.len() % sources.len()];
                    let request = signed(&target(source), &body);
                    // One that is told to end still gets its last event in.
                    while post(edges[at % edges.len()], &request).await != Some(202) {
                        refused.fetch_add(1, Ordering::Relaxed);
                        at += 1;
                        sleep(pause).await;
                    }
                    accepted.fetch_add(1, Ordering::Relaxed);
                    sent.push(id);
                    sleep(pause).await;
                }
                sent
            });
        }
        senders
    }

    /// Waits until so many more are accepted.
    pub async fn more(&self, count: u64) {
        let until = self.accepted.load(Ordering::Relaxed) + count;
        eventually("events are accepted", || async {
            (self.accepted.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    /// Answers other than 202 until now, and what was not answered.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends them: what was accepted, and how often something was not.
    ///
    /// # Panics
    /// When a sender does, or two events have one id.
    pub async fn end(self) -> (BTreeSet<String>, u64) {
        self.end.send_replace(true);
        let sent = soon("senders end", self.senders.join_all()).await.concat();
        let count = sent.len();
        let sent: BTreeSet<String> = sent.into_iter().collect();
        assert_eq!(sent.len(), count);
        (sent, self.refused.load(Ordering::Relaxed))
    }
}

async fn post(to: SocketAddr, request: &Request) -> Option<u16> {
    let calling = async { Connection::open(to).await.ok()?.call(request).await.ok() };
    let reply = tokio::time::timeout(SILENCE, calling).await.ok()??;
    Some(reply.status)
}
