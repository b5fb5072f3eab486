//! A connection to Redis, single or cluster, that comes back by itself. What is said over it is not
//! here; listening is `listen`, errors for people are `words`.
//!
//! When a connection breaks, nobody knows whether the commands on it were done
//! ([`words::is_uncertain`]). They are sent again, here and by a cluster's connection: a sender that
//! is told to come again with an event that was stored, and has no key, makes two of it. So what is sent
//! must be such that sending it twice changes nothing more.

mod client;
mod cluster;
pub mod listen;
pub mod words;

use std::time::Duration;

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use tokio::time::{Instant, sleep, timeout};

pub use cluster::Cluster;
pub use listen::{Heard, listen};
pub use words::Trouble;

use super::target::{Node, Target};

/// How long one attempt to connect may take, TLS and login included.
pub const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer may take, waiting for a place in the connection included; and for how long a command
/// is sent again. Longer than a slow fsync, shorter than the 4 s that an edge has for a request: what is
/// stored after its sender was told to come again is, without a key, stored twice.
pub const RESPONSE: Duration = Duration::from_secs(3);

/// How long a command may take with all that is tried meanwhile: another connection, another node.
pub const OVERALL: Duration = Duration::from_millis(3500);

/// Before a command is sent again; doubled each time.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A connection that all of a process may share; a clone is the same connection.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    Single(ConnectionManager),
    /// To all nodes of a cluster. Commands go where their keys are.
    Cluster(Cluster),
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// When that does not succeed in a few attempts, within about 10 seconds.
    pub async fn open(target: &Target) -> Result<Self, Trouble> {
        let opened = async {
            Ok(match target.is_cluster() {
                false => Self::Single(
                    ConnectionManager::new_with_config(client::single(target)?, client::manager())
                        .await?,
                ),
                true => Self::Cluster(Cluster::open(client::cluster(target)?).await?),
            })
        };
        let opened = timeout(OVERALL + CONNECT, opened).await.unwrap_or_else(|_| Err(overdue()));
        opened.map_err(|error: RedisError| Trouble::new(&error, target.to_string()))
    }

    /// Sends a command to one node of a cluster, whatever keys it has; otherwise to the server.
    ///
    /// # Errors
    /// As the command has them, and when the cluster has no such node.
    pub async fn at(&mut self, node: &Node, cmd: Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::Single(_) => self.req_packed_command(&cmd).await?,
            Self::Cluster(cluster) => cluster.at(node, cmd).await?,
        };
        answer.extract_error()
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(single) => Box::pin(in_time(async move {
                let mut again = Again::new();
                loop {
                    let answer = single.send_packed_command(cmd).await;
                    if !again.wanted(&answer).await {
                        return answer;
                    }
                }
            })),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(single) => Box::pin(in_time(async move {
                let mut again = Again::new();
                loop {
                    let answers = single.send_packed_commands(pipeline, offset, count).await;
                    if !again.wanted(&answers).await {
                        return answers;
                    }
                }
            })),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(single) => single.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

/// Whether a command is sent again.
struct Again {
    until: Instant,
    /// It may have been done.
    uncertain: bool,
    pause: Duration,
}

impl Again {
    fn new() -> Self {
        Self { until: Instant::now() + RESPONSE, uncertain: false, pause: PAUSE }
    }

    /// After a while, when it may have been done and there is nobody yet to ask. Who takes a command and
    /// says nothing is not asked a second time, and where nobody was from the beginning that is the
    /// answer.
    async fn wanted<T>(&mut self, answer: &RedisResult<T>) -> bool {
        let Err(error) = answer else { return false };
        self.uncertain |= words::is_uncertain(error);
        let away = error.is_io_error() && !error.is_timeout();
        let wanted = self.uncertain && (away || not_now(error)) && Instant::now() < self.until;
        if wanted {
            sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        wanted
    }
}

/// Refusals of a server that restarts, or of one that another has taken over from.
fn not_now(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    let kinds = [BusyLoading, MasterDown, ReadOnly].map(ErrorKind::Server);
    kinds.contains(&error.kind()) || error.code() == Some("NOREPLICAS")
}

/// While it reconnects, the manager holds a command for as long as that takes; a cluster's
/// connection has this limit itself.
async fn in_time<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(OVERALL, answer).await.unwrap_or_else(|_| Err(overdue()))
}

fn overdue() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// An answer that has another form than the command's.
fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, what))
}
