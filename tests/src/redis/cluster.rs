//! A Redis Cluster of three masters and a replica of each, as processes of this machine.

use std::time::Duration;

use redis::cmd;

use super::{Redis, Setup, apart, free_port};
use crate::wait::eventually;

/// The masters: the slots are divided among them.
const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

/// A running cluster. Dropping it kills it.
#[derive(Debug)]
pub struct Cluster {
    /// The masters as they were made, then the replica of each in the same order.
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts one and waits until all of it serves.
    ///
    /// # Panics
    /// When there is no program, or it does not come up.
    pub async fn start(setup: Setup) -> Self {
        let setup = Setup { port: true, ..setup };
        let mut nodes = Vec::new();
        for _ in 0..2 * MASTERS {
            // Without it the port for one another is 10,000 higher, which may be beyond 65535.
            let setup = setup.clone().with("cluster-enabled", "yes");
            let setup = setup.with("cluster-port", free_port());
            let setup = setup.with("cluster-node-timeout", 1000);
            let mut setup = setup.with("cluster-replica-validity-factor", 0);
            if setup.tls.is_some() {
                // Nodes are called by the name of their certificate, not by their address.
                setup = setup.with("tls-cluster", "yes").with("tls-replication", "yes");
                setup = setup.with("cluster-announce-hostname", "localhost");
                setup = setup.with("cluster-preferred-endpoint-type", "hostname");
            }
            nodes.push(Redis::start(setup).await);
        }
        let cluster = Self { nodes };
        cluster.join().await;
        cluster
    }

    /// As [`Cluster::start`] with the usual setup, for those who do not wait.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    #[must_use]
    pub fn start_apart() -> Self {
        apart(|| Self::start(Setup::default()))
    }

    /// What `--store` takes for it: its masters as they were made.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes[..MASTERS].iter().map(Redis::url).collect();
        let (scheme, _) = urls[0].split_once("://").unwrap_or_default();
        let rest: Vec<_> = urls.iter().filter_map(|url| Some(url.split_once("://")?.1)).collect();
        // All have the same user.
        let user = rest[0].rfind('@').map_or("", |at| &rest[0][..=at]);
        let hosts: Vec<_> = rest.iter().map(|rest| &rest[user.len()..]).collect();
        format!("{scheme}-cluster://{user}{}", hosts.join(","))
    }

    /// The index of the node that has this key now.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot: usize = self.living().ask(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await;
        eventually("the slot has a master", || async move {
            let nodes: String = self.living().ask(cmd("CLUSTER").arg("NODES")).await;
            let line = nodes.lines().find(|line| {
                let fields: Vec<_> = line.split(' ').collect();
                fields[2].contains("master")
                    && !fields[2].contains("fail")
                    && fields[8..].iter().any(|range| holds(range, slot))
            })?;
            let port = line.split([' ', '@']).nth(1)?.rsplit(':').next()?.parse::<u16>().ok()?;
            self.nodes.iter().position(|node| node.port == port)
        })
        .await
    }

    /// Any node that runs.
    fn living(&self) -> &Redis {
        let running = |node: &&Redis| node.socket().exists() && node.running.is_running();
        self.nodes.iter().find(running).expect("a node runs")
    }

    async fn join(&self) {
        let mut ids = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            () = node.ask(cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(index + 1)).await;
            ids.push(node.ask::<String>(cmd("CLUSTER").arg("MYID")).await);
        }
        for (index, node) in self.nodes[..MASTERS].iter().enumerate() {
            let (from, to) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS - 1);
            () = node.ask(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to)).await;
        }
        for node in &self.nodes[1..] {
            let bus = node.setup.more.iter().find(|(name, _)| *name == "cluster-port");
            let bus = bus.map(|(_, port)| port.as_str()).unwrap_or_default();
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(node.port).arg(bus);
            () = self.nodes[0].ask(&meet).await;
        }
        for (index, node) in self.nodes[MASTERS..].iter().enumerate() {
            let id = &ids[index];
            eventually("a node knows its master", || async {
                let nodes: String = node.ask(cmd("CLUSTER").arg("NODES")).await;
                nodes.contains(id.as_str()).then_some(())
            })
            .await;
            () = node.ask(cmd("CLUSTER").arg("REPLICATE").arg(id)).await;
        }
        for node in &self.nodes {
            eventually("a node serves", || Self::serves(node)).await;
        }
    }

    async fn serves(node: &Redis) -> Option<()> {
        let info: String = node.ask(cmd("CLUSTER").arg("INFO")).await;
        let replication: String = node.ask(cmd("INFO").arg("replication")).await;
        let nodes: String = node.ask(cmd("CLUSTER").arg("NODES")).await;
        let linked =
            replication.contains("master_link_status:up") || replication.contains("state=online");
        let replicas = nodes.lines().filter(|line| line.contains("slave")).count() == MASTERS;
        (info.contains("cluster_state:ok") && linked && replicas).then_some(())
    }

    /// How long a failover takes at the least: until a master counts as gone.
    pub const TIMEOUT: Duration = Duration::from_secs(1);
}

/// Whether a range of slots as CLUSTER NODES writes it (`7`, `0-5460`) has this one.
fn holds(range: &str, slot: usize) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    matches!((from.parse::<usize>(), to.parse::<usize>()), (Ok(from), Ok(to)) if (from..=to).contains(&slot))
}
