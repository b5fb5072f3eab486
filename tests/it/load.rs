//! Load for tests: senders that post unique events and remember what was answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use segment_source_tests::{
    http::Connection,
    server::webhook,
    sign::{SECRET, fresh_id, sign, track},
};
use tokio::task::JoinSet;

/// What became of the events sent so far, by messageId.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Answered 202 as newly accepted.
    pub(crate) accepted: Vec<String>,
    /// Not answered, or with something that says "again".
    pub(crate) unsure: Vec<String>,
    /// Answered in a way that should not happen.
    pub(crate) wrong: Vec<String>,
}

/// Running senders.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
    senders: JoinSet<()>,
}

impl Load {
    /// Starts `connections` senders, each on a connection of its own, one request at a time.
    pub(crate) fn start(address: SocketAddr, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let mut senders = JoinSet::new();
        for user in 0..connections {
            let (stop, answers) = (stop.clone(), answers.clone());
            senders.spawn(async move {
                let Ok(mut connection) = Connection::open(address).await else { return };
                while !stop.load(Ordering::Relaxed) {
                    if !send_one(&mut connection, user, &answers).await {
                        return;
                    }
                }
            });
        }
        Self { stop, answers, senders }
    }

    /// How many events were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.answers.lock().expect("no panic while locked").accepted.len()
    }

    /// Ends the senders and tells what was answered.
    pub(crate) async fn stop(mut self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender does not panic");
        }
        std::mem::take(&mut self.answers.lock().expect("no panic while locked"))
    }
}

/// Sends one event; false when the connection is of no more use.
async fn send_one(connection: &mut Connection, user: usize, answers: &Mutex<Answers>) -> bool {
    let id = fresh_id();
    let body = track(&id, &format!("user-{user}"), "Signed Up").to_string();
    let signature = sign(SECRET.as_bytes(), body.as_bytes());
    let request = webhook("web").header("X-Signature", &signature).body(body);
    let reply = connection.call(&request).await;
    let mut answers = answers.lock().expect("no panic while locked");
    match reply {
        Ok(reply) if reply.status == 202 => match reply.counts() {
            (1, 0) => answers.accepted.push(id),
            _ => answers.wrong.push(format!("{id}: {}", reply.text())),
        },
        Ok(reply) if reply.status == 503 => answers.unsure.push(id),
        Ok(reply) => answers.wrong.push(format!("{id}: {}", reply.status)),
        Err(_) => {
            answers.unsure.push(id);
            return false;
        }
    }
    true
}
