//! Somebody who sends events all the time, each again and again until it is accepted, as Segment
//! does. What became of the events after that is for those who ask the program.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    http::{Connection, Reply, Request},
    server::signed,
    sign::{fresh_id, track},
    wait::eventually,
};

/// How many send at the same time. Half of them keep their connection, half open one each time.
const SENDERS: usize = 4;

/// Between two events of a sender, and between two attempts: 100 events a second in all, which
/// leaves the machine to others.
const PAUSE: Duration = Duration::from_millis(40);

/// The longest that a request is waited for; then it is sent again.
const LATE: Duration = Duration::from_secs(10);

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// messageIds that were answered 202, in order.
    pub accepted: Vec<String>,
    /// How many of them were known already: an attempt before was taken, but its answer was lost.
    pub duplicates: u64,
    /// How often each status was answered.
    pub answers: BTreeMap<u16, usize>,
    /// How often there was no answer.
    pub unanswered: usize,
    /// The longest that one event took until it was accepted.
    pub longest: Duration,
}

impl Sent {
    /// How many attempts were answered, but not with 202.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.answers.iter().filter(|(status, _)| **status != 202).map(|(_, count)| count).sum()
    }
}

/// Running senders. Dropping it ends them.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Sent>>,
    senders: JoinSet<()>,
}

impl Prober {
    /// Begins to send `track` events (their user is their messageId) to this path, signed with the
    /// test secret.
    #[must_use]
    pub fn start(address: SocketAddr, path: &str) -> Self {
        let (stop, sent): (Arc<AtomicBool>, Arc<Mutex<Sent>>) = Default::default();
        let mut senders = JoinSet::new();
        for number in 0..SENDERS {
            let (stop, sent, path) = (stop.clone(), sent.clone(), path.to_owned());
            senders.spawn(async move {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        connection = None;
                    }
                    send(address, &path, &mut connection, &sent).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { stop, sent, senders }
    }

    /// What happened so far.
    ///
    /// # Panics
    /// Never: nothing panics while it is locked.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.lock().expect("no panic while locked").clone()
    }

    /// Waits until so many more events were accepted.
    pub async fn more(&self, count: usize) {
        let before = self.sent().accepted.len();
        eventually("events are accepted", || async {
            (self.sent().accepted.len() >= before + count).then_some(())
        })
        .await;
    }

    /// Ends when every event that was begun is accepted.
    ///
    /// # Panics
    /// When an answer was final, which loses the event.
    pub async fn stop(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("every event was accepted in the end");
        }
        self.sent()
    }
}

/// Sends a fresh event until it is accepted.
async fn send(
    address: SocketAddr,
    path: &str,
    connection: &mut Option<Connection>,
    sent: &Mutex<Sent>,
) {
    let id = fresh_id();
    let request = signed(path, &track(&id, &id, "Signed Up").to_string());
    let begun = Instant::now();
    loop {
        let answer = tokio::time::timeout(LATE, attempt(address, &request, connection)).await;
        let answer = answer.ok().flatten();
        {
            let mut sent = sent.lock().expect("no panic while locked");
            match &answer {
                Some(reply) => *sent.answers.entry(reply.status).or_default() += 1,
                None => sent.unanswered += 1,
            }
            if let Some(reply) = answer.as_ref().filter(|it| it.status == 202) {
                sent.duplicates += reply.counts().1;
                sent.accepted.push(id);
                sent.longest = sent.longest.max(begun.elapsed());
                return;
            }
        }
        // Segment tries again after these, and after no answer; anything else loses the event.
        if let Some(reply) = answer {
            let (status, text) = (reply.status, reply.text());
            assert!(matches!(status, 408 | 429 | 500..), "answered {status}: {text}");
        }
        *connection = None;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(
    address: SocketAddr,
    request: &Request,
    connection: &mut Option<Connection>,
) -> Option<Reply> {
    if connection.is_none() {
        *connection = Some(Connection::open(address).await.ok()?);
    }
    connection.as_mut()?.call(request).await.ok()
}
