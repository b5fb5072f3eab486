//! Somebody who sends all the time, and what is not answered 2xx again and again, as Segment does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    http::{Connection, Request},
    installed::Release,
    sign::{SECRET, fresh_id, sign, track},
    wait::eventually,
};

/// How many send at the same time. Half of them keep their connection, half open one each time.
const SENDERS: usize = 4;

/// Between two events of a sender, and between two attempts: 100 events a second in all, which
/// leaves the machine to the cluster.
const PAUSE: Duration = Duration::from_millis(40);

/// The longest that a request is waited for; then it is sent again.
const LATE: Duration = Duration::from_secs(10);

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// messageIds that were answered 202.
    pub accepted: BTreeSet<String>,
    /// How often each status was answered; 0: there was no answer.
    pub statuses: BTreeMap<u16, usize>,
    /// The longest that one event took until it was accepted.
    pub longest: Duration,
}

/// Running senders.
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
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Sent::default()));
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
    /// When a sender panicked.
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

    /// Ends, and checks that each event that was accepted is in the log and made its action, once.
    ///
    /// # Panics
    /// When one is lost or doubled.
    pub async fn nothing_lost_or_doubled(self, release: &Release<'_>, source: &str) -> Sent {
        let sent = self.stop().await;
        _ = writeln!(
            std::io::stderr(),
            "PROBER: {} events accepted, answers {:?}, the longest wait {:.1} s, mode {}",
            sent.accepted.len(),
            sent.statuses,
            sent.longest.as_secs_f64(),
            release.mode().name(),
        );
        let source = (release.namespace.as_str(), source);
        let remote = release.grpc(&release.platform_token().await).await;
        let accepted = remote.accepted(source).await;
        let lost: Vec<_> = sent.accepted.iter().filter(|id| !accepted.contains_key(*id)).collect();
        assert!(lost.is_empty(), "of {} events {} are lost", sent.accepted.len(), lost.len());
        let doubled: Vec<_> = accepted.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "accepted twice: {doubled:?}");
        let mut actions: BTreeMap<String, usize> = BTreeMap::new();
        for action in remote.drain(source).await {
            let payload: serde_json::Value =
                serde_json::from_slice(&action.payload_json).expect("a payload is JSON");
            let user = payload["recipients"][0].as_str().expect("the user");
            *actions.entry(user.to_owned()).or_default() += 1;
        }
        let once: BTreeMap<_, _> = sent.accepted.iter().map(|id| (id.clone(), 1)).collect();
        let wrong: Vec<_> = once.iter().filter(|(id, _)| actions.get(*id) != Some(&1)).collect();
        assert!(wrong.is_empty(), "{} events without one action each: {wrong:?}", wrong.len());
        assert_eq!(actions.len(), once.len(), "actions of events that nobody sent");
        sent
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
    let body = track(&id, &id, "Signed Up").to_string();
    let request = Request::new("POST", path)
        .header("User-Agent", "Segment (Actions)")
        .header("Content-Type", "application/json")
        .header("X-Signature", &sign(SECRET.as_bytes(), body.as_bytes()))
        .body(body.as_bytes());
    let begun = Instant::now();
    loop {
        let answer = tokio::time::timeout(LATE, attempt(address, &request, connection)).await;
        let status = answer.ok().flatten();
        {
            let mut sent = sent.lock().expect("no panic while locked");
            *sent.statuses.entry(status.unwrap_or(0)).or_default() += 1;
            if status == Some(202) {
                sent.accepted.insert(id);
                sent.longest = sent.longest.max(begun.elapsed());
                return;
            }
        }
        // Segment tries again after these, and after no answer; anything else loses the event.
        assert!(matches!(status, None | Some(408 | 429 | 500..)), "answered {status:?}");
        *connection = None;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(
    address: SocketAddr,
    request: &Request,
    connection: &mut Option<Connection>,
) -> Option<u16> {
    if connection.is_none() {
        *connection = Some(Connection::open(address).await.ok()?);
    }
    Some(connection.as_mut()?.call(request).await.ok()?.status)
}
