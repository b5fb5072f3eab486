//! Senders that post events until each is accepted, as Segment does, while something happens to the
//! program.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
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
    answers: Arc<Mutex<BTreeMap<Option<u16>, u64>>>,
}

impl Senders {
    /// Starts them: to these edges, for these sources in turns, with a pause after each event.
    #[must_use]
    pub fn start(edges: &[SocketAddr], sources: &[String], pause: Duration) -> Self {
        Self::with(edges, sources, pause, |_| true)
    }

    /// As [`Senders::start`]; every second event has no messageId, so that one that is sent again is
    /// another one.
    #[must_use]
    pub fn half_keyless(edges: &[SocketAddr], sources: &[String], pause: Duration) -> Self {
        Self::with(edges, sources, pause, |number| number % 2 == 0)
    }

    fn with(
        edges: &[SocketAddr],
        sources: &[String],
        pause: Duration,
        has_key: fn(usize) -> bool,
    ) -> Self {
        let mut senders = Self {
            end: watch::Sender::new(false),
            senders: JoinSet::new(),
            accepted: Arc::default(),
            refused: Arc::default(),
            answers: Arc::default(),
        };
        for first in 0..SENDERS {
            let (edges, sources) = (edges.to_vec(), sources.to_vec());
            let end = senders.end.subscribe();
            let (accepted, refused) = (senders.accepted.clone(), senders.refused.clone());
            let answers = senders.answers.clone();
            senders.senders.spawn(async move {
                let (mut sent, mut at) = (Vec::new(), first);
                while !*end.borrow() {
                    let id = fresh_id();
                    let mut event = track(&id, &id, "Signed Up");
                    // By turns through the sources, so that each gets events of both kinds.
                    if !has_key(first + sent.len() / sources.len()) {
                        event["messageId"] = Value::Null;
                    }
                    let source = &sources[sent.len() % sources.len()];
                    let request = signed(&target(source), &event.to_string());
                    // One that is told to end still gets its last event in.
                    loop {
                        let answer = post(edges[at % edges.len()], &request).await;
                        *answers.lock().expect("no panic").entry(answer).or_default() += 1;
                        if answer == Some(202) {
                            break;
                        }
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

    /// How often each status was answered until now; `None`: there was no answer.
    ///
    /// # Panics
    /// When a sender has.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<Option<u16>, u64> {
        self.answers.lock().expect("no panic").clone()
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
