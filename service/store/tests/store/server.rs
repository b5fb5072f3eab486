//! Servers that the suite runs against: one for all tests that run at the moment.

use std::sync::{Arc, Weak};

use segment_source_store::redis::target::Target;
use segment_source_tests::redis::{Cluster, Redis, Setup};
use tokio::sync::Mutex;

/// One server, or a cluster. Dropping it ends it.
pub(crate) enum Server {
    Single(Redis),
    Cluster(Cluster),
}

static LIVING: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

impl Server {
    /// What `STORE` says: `redis`, `cluster` (the server's program is `REDIS_SERVER_BIN`'s, which may be
    /// Valkey's), or `embedded` and nothing: `None`.
    pub(crate) async fn wanted() -> Option<Arc<Self>> {
        let kind = std::env::var("STORE").ok().filter(|kind| kind != "embedded")?;
        let mut living = LIVING.lock().await;
        if let Some(server) = living.upgrade() {
            return Some(server);
        }
        let setup = Setup { fsync: None, ..Setup::default() };
        let server = Arc::new(match kind.as_str() {
            "redis" => Self::Single(Redis::start(setup).await),
            "cluster" => Self::Cluster(Cluster::start(setup).await),
            other => panic!("STORE is {other}"),
        });
        *living = Arc::downgrade(&server);
        Some(server)
    }

    pub(crate) fn target(&self) -> Target {
        let url = match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        };
        url.parse().unwrap()
    }
}
