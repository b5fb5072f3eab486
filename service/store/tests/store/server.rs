//! Servers that the suite runs against: one for all tests that run at the moment. Behind a way on which
//! answers get lost each test has its own.

use std::sync::{Arc, Weak};

use redis::cmd;
use segment_source_store::redis::target::Target;
use segment_source_tests::{
    lossy::{Lossy, Which},
    redis::{Cluster, Redis, Setup, free_port},
    wait::eventually,
};
use tokio::sync::Mutex;

/// One server, or a cluster. Dropping it ends it.
pub(crate) enum Server {
    Single(Redis),
    Cluster(Cluster),
    /// One that is only reached by this address.
    Behind(#[expect(dead_code, reason = "ends when it is dropped")] Redis, String),
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

    /// Behind a way on which these answers may get lost, as `STORE` says; the cluster has one node, which
    /// sends all who ask it to that way.
    pub(crate) async fn lossy(which: Which) -> Option<(Arc<Self>, Lossy)> {
        let kind = std::env::var("STORE").ok().filter(|kind| kind != "embedded")?;
        let listener = Lossy::listener().await;
        let address = listener.local_addr().unwrap();
        let mut setup = Setup { port: true, fsync: None, ..Setup::default() };
        if kind == "cluster" {
            setup = setup.with("cluster-enabled", "yes").with("cluster-port", free_port());
            setup = setup.with("cluster-announce-ip", "127.0.0.1");
            setup = setup.with("cluster-announce-port", address.port());
        }
        let redis = Redis::start(setup).await;
        let lossy = Lossy::on(listener, redis.port(), which);
        if kind != "cluster" {
            let url = format!("redis://{address}");
            return Some((Arc::new(Self::Behind(redis, url)), lossy));
        }
        let mut all = cmd("CLUSTER");
        () = redis.ask(all.arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await;
        eventually("the cluster serves", || async {
            let info: String = redis.ask(cmd("CLUSTER").arg("INFO")).await;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
        let url = format!("redis-cluster://{address}");
        Some((Arc::new(Self::Behind(redis, url)), lossy))
    }

    pub(crate) fn target(&self) -> Target {
        let url = match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
            Self::Behind(_, url) => url.clone(),
        };
        url.parse().unwrap()
    }
}
