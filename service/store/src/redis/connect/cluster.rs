//! The connection to a cluster, and another when one of its masters hangs. The library moves on from
//! a master that is gone, but not from one that takes what is sent and says nothing (a stopped
//! process, a dead disk): it would go on sending there after the cluster has another master.

use std::sync::{Arc, PoisonError, RwLock};

use redis::{
    Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::ConnectionLike,
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};

use crate::redis::target::Node;

/// A clone is the same connection.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: ClusterClient,
    current: RwLock<Current>,
}

/// One connection of several, and which it is.
#[derive(Clone)]
struct Current {
    number: u64,
    connection: ClusterConnection,
}

impl Cluster {
    /// Connects to all nodes.
    pub(super) async fn open(client: ClusterClient) -> RedisResult<Self> {
        let connection = client.get_async_connection().await?;
        let current = RwLock::new(Current { number: 0, connection });
        Ok(Self(Arc::new(Inner { client, current })))
    }

    /// Sends a command to one node, whatever keys it has.
    pub(super) async fn at(&self, node: &Node, cmd: Cmd) -> RedisResult<Value> {
        let mut current = self.current();
        let Node { host, port } = node.clone();
        let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
        self.judged(current.number, current.connection.route_command(cmd, route).await)
    }

    fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes an answer on. When there was none in time, the next command goes over a new connection,
    /// which asks the nodes who the masters are; it is made while that command waits.
    fn judged<T>(&self, number: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.as_ref().is_err_and(redis::RedisError::is_timeout) {
            let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
            // Others have waited as long, on the same connection.
            if current.number == number {
                tracing::warn!("the store's cluster did not answer in time; connecting anew");
                let config = ClusterConfig::new();
                let connection = self.0.client.get_pending_async_connection_with_config(config);
                *current = Current { number: number + 1, connection };
            }
        }
        answer
    }
}

impl ConnectionLike for Cluster {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut current = self.current();
            self.judged(current.number, current.connection.req_packed_command(cmd).await)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut current = self.current();
            let answers = current.connection.req_packed_commands(pipeline, offset, count).await;
            self.judged(current.number, answers)
        })
    }

    fn get_db(&self) -> i64 {
        self.current().connection.get_db()
    }
}
