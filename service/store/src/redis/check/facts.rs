//! What can be seen of a Redis. What its user may not ask, or a managed service does not tell, is
//! `None`.

use std::{collections::HashMap, time::Instant};

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value, cmd, from_redis_value};

use super::parse::{self, Version};
use crate::{
    contract::Clock,
    redis::{
        connect::{Connection, Trouble},
        target::{Node, Place, Target},
    },
};

/// What can be seen of all servers that the store would use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server, or the masters of the cluster.
    pub servers: Vec<Server>,
    /// Of the cluster, when it is used as one.
    pub cluster: Option<Cluster>,
}

/// What can be seen of a cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Whether it says that it serves.
    pub serves: Option<bool>,
    /// How many of the 16,384 slots some server has.
    pub assigned: Option<u64>,
}

/// What can be seen of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host and port, or the socket.
    pub at: String,
    /// What it says, or why it says nothing.
    pub seen: Result<Seen, Trouble>,
}

/// What one server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it is, and which.
    pub version: Option<Version>,
    /// Whether it is part of a cluster.
    pub in_cluster: Option<bool>,
    /// Whether it follows another.
    pub is_replica: Option<bool>,
    /// Replicas that follow it now.
    pub replicas: Option<u64>,
    /// With fewer it takes no writes.
    pub min_replicas: Option<u64>,
    /// Bytes of memory in use.
    pub used: Option<u64>,
    /// Bytes it may use; 0: no limit.
    pub max: Option<u64>,
    /// Bytes the machine has.
    pub machine: Option<u64>,
    /// What goes when memory is short.
    pub policy: Option<String>,
    /// How it keeps what was written.
    pub kept: Kept,
    /// From how many fields, and from which length of one, a hash is kept the large way.
    pub listpack: Option<(u64, u64)>,
    /// Whether its user `default`, also one that is off, may write what the store writes: many releases
    /// judge by that what they read from their append-only file.
    pub default_may_write: Option<bool>,
    /// Its clock minus ours, in milliseconds, as far as can be told.
    pub clock: Option<i64>,
}

/// How a server keeps what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Whether there is an append-only file.
    pub aof: Option<bool>,
    /// Whether the last write to it went well.
    pub works: Option<bool>,
    /// `always`, `everysec` or `no`.
    pub fsync: Option<String>,
    /// Whether syncing pauses while the file is written anew.
    pub pauses: Option<bool>,
}

const DIRECTIVES: [&str; 5] = [
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "min-replicas-to-write",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
];

/// Asks for everything: four commands a server.
///
/// # Errors
/// When nobody can be asked who the servers are. One that cannot be asked is in the facts.
pub async fn gather(
    connection: &mut Connection,
    target: &Target,
    clock: &Clock,
) -> Result<Facts, Trouble> {
    let named = match target.place() {
        Place::Unix(path) => {
            let place = Node { host: String::new(), port: 0 };
            return alone(connection, path.display().to_string(), place, clock).await;
        }
        Place::Single(node) => {
            return alone(connection, node.to_string(), node.clone(), clock).await;
        }
        Place::Cluster(nodes) => &nodes[0],
    };
    let trouble = |error: RedisError| Trouble::new(&error, target.to_string());
    let slots: Value =
        cmd("CLUSTER").arg("SLOTS").query_async(connection).await.map_err(trouble)?;
    let mut servers = Vec::new();
    for node in parse::masters(slots, named) {
        let seen = server(connection, &node, clock).await;
        servers.push(Server { at: node.to_string(), seen });
    }
    let info = visible(cmd("CLUSTER").arg("INFO").query_async::<String>(connection).await);
    let info = parse::fields(&info.map_err(trouble)?.unwrap_or_default());
    let cluster = Cluster {
        serves: info.get("cluster_state").map(|state| state == "ok"),
        assigned: parse::number(&info, "cluster_slots_assigned"),
    };
    Ok(Facts { servers, cluster: Some(cluster) })
}

async fn alone(
    connection: &mut Connection,
    at: String,
    node: Node,
    clock: &Clock,
) -> Result<Facts, Trouble> {
    let seen = server(connection, &node, clock).await;
    Ok(Facts { servers: vec![Server { at, seen }], cluster: None })
}

async fn server(connection: &mut Connection, node: &Node, clock: &Clock) -> Result<Seen, Trouble> {
    let asked = async {
        let info: Option<String> = ask(connection, node, cmd("INFO")).await?;
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(&DIRECTIVES);
        let config: Option<HashMap<String, String>> = ask(connection, node, get).await?;
        let mut dry_run = cmd("ACL");
        let write = ["XADD", "segment-source:{p00}:log", "*", "e", ""];
        dry_run.arg("DRYRUN").arg("default").arg(&write);
        let may_write: Option<String> = ask(connection, node, dry_run).await?;
        let (ours, started) = (clock(), Instant::now());
        let time: Option<(u64, u64)> = ask(connection, node, cmd("TIME")).await?;
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen =
            parse::seen(&parse::fields(&info.unwrap_or_default()), &config.unwrap_or_default());
        seen.default_may_write = may_write.map(|said| said == "OK");
        seen.clock = time.map(|(s, us)| parse::difference(s * 1000 + us / 1000, ours, took));
        Ok(seen)
    };
    asked.await.map_err(|error: RedisError| Trouble::new(&error, node.to_string()))
}

/// The answer, or `None` when the server does not give one of this kind to us.
async fn ask<T: FromRedisValue>(
    connection: &mut Connection,
    node: &Node,
    cmd: Cmd,
) -> RedisResult<Option<T>> {
    let answer = connection.at(node, cmd).await;
    visible(answer.and_then(|value| Ok(from_redis_value(value)?)))
}

/// A refusal of the server says that this is not for us; anything else, that it cannot be asked.
fn visible<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    use redis::{ErrorKind, ServerErrorKind as Server};
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.kind() {
            ErrorKind::Server(Server::NoPerm | Server::ResponseError)
            | ErrorKind::UnexpectedReturnType => Ok(None),
            _ => Err(error),
        },
    }
}
