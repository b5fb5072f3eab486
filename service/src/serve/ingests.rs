//! The ingests of an edge: every address that their names have is one of its own, and those that
//! can be reached and are ready are told to the edge.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::stream::{Stream, StreamExt as _};
use segment_source_edge::Peers;
use segment_source_runtime::{health::Latch, net::Address, tls::Dial};
use tokio::sync::{Notify, watch};
use tokio_stream::StreamMap;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

use super::{
    connection, names,
    reach::{Health, health},
};

/// Follows the ingests.
pub(crate) struct Ingests {
    names: Vec<Address>,
    dial: Dial,
    /// Set while one at least is ready.
    latch: Latch,
    peers: watch::Sender<Peers>,
    channels: BTreeMap<SocketAddr, Channel>,
    healths: StreamMap<SocketAddr, Pin<Box<dyn Stream<Item = Health> + Send>>>,
    /// Why they are not ready, so that it is said once.
    said: BTreeMap<SocketAddr, String>,
    /// One failed: maybe others have taken its place.
    failed: Arc<Notify>,
}

impl Ingests {
    /// The follower, and the ingests that are ready: none before it runs.
    pub(crate) fn new(
        names: Vec<Address>,
        dial: Dial,
        latch: Latch,
    ) -> (Self, watch::Receiver<Peers>) {
        let (peers, ready) = watch::channel(Peers::new());
        let ingests = Self {
            names,
            dial,
            latch,
            peers,
            channels: BTreeMap::new(),
            healths: StreamMap::new(),
            said: BTreeMap::new(),
            failed: Arc::default(),
        };
        (ingests, ready)
    }

    /// Follows names and healths until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let addresses = names::addresses(self.names.clone(), Arc::clone(&self.failed));
        self.follow_at(addresses, stop).await;
    }

    /// The same with these addresses, whenever they are told.
    async fn follow_at(
        mut self,
        addresses: impl Stream<Item = BTreeSet<SocketAddr>>,
        stop: CancellationToken,
    ) {
        let mut addresses = pin!(addresses);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(found) = addresses.next() => self.found(&found),
                Some((address, health)) = self.healths.next() => self.heard(address, health),
            }
        }
    }

    /// Begins to follow those that are new, and leaves those that are gone.
    fn found(&mut self, found: &BTreeSet<SocketAddr>) {
        let gone: Vec<SocketAddr> =
            self.channels.keys().filter(|address| !found.contains(address)).copied().collect();
        for address in gone {
            info!(ingest = %address, "the name leads to this ingest no more");
            self.channels.remove(&address);
            self.healths.remove(&address);
            self.said.remove(&address);
            self.tell(address, false);
        }
        for address in found {
            if !self.channels.contains_key(address) {
                let channel = connection::remote(&(*address).into(), self.dial.clone());
                self.healths.insert(*address, Box::pin(health(channel.clone())));
                self.channels.insert(*address, channel);
            }
        }
    }

    fn heard(&mut self, address: SocketAddr, health: Health) {
        match health {
            Health::Ready => {
                self.said.remove(&address);
                self.tell(address, true);
            }
            Health::NotReady(why) => {
                self.tell(address, false);
                self.failed.notify_one();
                if self.said.get(&address) != Some(&why) {
                    warn!("the ingest at {address} {why}");
                    self.said.insert(address, why);
                }
            }
        }
    }

    /// Tells the edge and the readiness of this process whether it is ready.
    fn tell(&self, address: SocketAddr, ready: bool) {
        let name = address.to_string();
        let channel = self.channels.get(&address).filter(|_| ready);
        let changed = self.peers.send_if_modified(|peers| match channel {
            Some(_) if peers.contains_key(&name) => false,
            Some(channel) => peers.insert(name, channel.clone()).is_none(),
            None => peers.remove(&name).is_some(),
        });
        if changed {
            let count = self.peers.borrow().len();
            info!(ingest = %address, ready, count, "ingests");
            self.latch.set(count > 0);
        }
    }
}

#[cfg(test)]
#[path = "ingests_tests.rs"]
mod tests;
