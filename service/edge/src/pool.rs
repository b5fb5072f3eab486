//! One link for each ingest there is: made when an ingest comes, left to end when it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Peers,
    line::Line,
    link::{Bounds, Link},
    metrics::Metrics,
};

/// Owns the links.
pub(crate) struct Pool {
    peers: watch::Receiver<Peers>,
    line: Arc<Line>,
    bounds: Bounds,
    metrics: Metrics,
    /// Of the ingests there are: cancelled when one is to get nothing new.
    leaving: BTreeMap<String, CancellationToken>,
    /// All links, also those that only wait for their last answers. Each ends with its number.
    links: JoinSet<usize>,
    /// Numbers that links have. The smallest free one is given next, so that they stay small.
    numbers: BTreeSet<usize>,
}

impl Pool {
    pub(crate) fn new(
        peers: watch::Receiver<Peers>,
        line: Arc<Line>,
        bounds: Bounds,
        metrics: Metrics,
    ) -> Self {
        let (leaving, links, numbers) = (BTreeMap::new(), JoinSet::new(), BTreeSet::new());
        Self { peers, line, bounds, metrics, leaving, links, numbers }
    }

    /// Follows the ingests for ever; all links end when this is dropped.
    ///
    /// # Errors
    /// When a link panicked.
    pub(crate) async fn run(mut self) -> JoinError {
        let mut may_change = true;
        loop {
            self.follow();
            tokio::select! {
                changed = self.peers.changed(), if may_change => may_change = changed.is_ok(),
                Some(ended) = self.links.join_next() => match ended {
                    Ok(number) => _ = self.numbers.remove(&number),
                    Err(error) => return error,
                },
                // Never changes again and has none: what waits, waits for its deadline.
                else => std::future::pending().await,
            }
        }
    }

    /// Brings the links to what the ingests are now.
    fn follow(&mut self) {
        let peers = self.peers.borrow_and_update().clone();
        self.leaving.retain(|name, leaving| {
            let stays = peers.contains_key(name);
            if !stays {
                leaving.cancel();
            }
            stays
        });
        for (name, channel) in peers {
            if self.leaving.contains_key(&name) {
                continue;
            }
            let number = (0..).find(|number| !self.numbers.contains(number)).unwrap_or_default();
            self.numbers.insert(number);
            let leaving = CancellationToken::new();
            let link = Link::new(
                number,
                &name,
                channel,
                Arc::clone(&self.line),
                leaving.clone(),
                self.bounds,
                self.metrics.clone(),
            );
            self.leaving.insert(name, leaving);
            self.links.spawn(async move {
                link.run().await;
                number
            });
        }
        self.metrics.ingests(self.leaving.len());
    }
}
