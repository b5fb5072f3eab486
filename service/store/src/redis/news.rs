//! What scripts publish, to those who wait for it in this process.

use std::{collections::HashMap, pin::pin};

use futures_util::StreamExt as _;
use segment_source_core::source::{SourceHash, SourceId};

use super::{
    PARTITIONS, Store,
    connect::{Heard, listen},
    reply,
    target::Target,
};
use crate::contract::StoreError;

/// Fields that are named after sources.
type OfSources = HashMap<Vec<u8>, Vec<u8>>;

impl Store {
    /// Listens until the store is closed.
    pub(super) async fn follow_news(self, target: Target) {
        let channel = |partition| String::from_utf8_lossy(&self.0.prefix(partition)).into_owned();
        let mut heard = pin!(listen(&target, (0..PARTITIONS).map(channel)));
        loop {
            let heard = tokio::select! {
                heard = heard.next() => heard,
                () = self.0.stop.cancelled() => None,
            };
            match heard {
                Some(Heard::Message { payload, .. }) => self.heard(&payload),
                // Something may have been missed.
                Some(Heard::Resubscribed(_)) => {
                    self.0.ring_all();
                    for partition in 0..PARTITIONS {
                        self.0.may_be_unseen(partition);
                        if self.0.owns_partition(partition) {
                            self.look_for_unplanned(partition).await;
                        }
                    }
                }
                None => break,
            }
        }
    }

    fn heard(&self, message: &[u8]) {
        match message {
            [b'q', queue @ ..] => {
                if let Ok(queue) = queue.try_into() {
                    self.0.queues.ring([&queue]);
                }
            }
            [b'a', news @ ..] => {
                let Some((holder, names)) = news.split_first_chunk() else { return };
                let names = std::str::from_utf8(names).unwrap_or_default().split(' ');
                let sources: Vec<SourceId> = names.filter_map(|name| name.parse().ok()).collect();
                let hashes: Vec<_> = sources.iter().map(SourceId::hash).collect();
                self.0.arrivals.ring(&hashes);
                // This process knows what it put there.
                if *holder != self.0.holder {
                    self.have_arrived(sources);
                }
            }
            [b'd', source @ ..] => {
                if let Ok(source) = source.try_into() {
                    self.0.directories.ring([&SourceHash(source)]);
                }
            }
            _ => {}
        }
    }

    /// Sources of one partition have new entries.
    pub(super) fn have_arrived(&self, sources: Vec<SourceId>) {
        if sources.first().is_some_and(|source| self.0.owns(source.hash())) {
            self.0.unplanned.mark(sources);
        }
    }

    /// Finds sources of a partition that have entries behind their cursor, if there may be some that nobody
    /// told of.
    pub(super) async fn look_for_unplanned(&self, partition: u64) {
        let Some(saw) = self.0.to_look(partition) else { return };
        let looked = async {
            let mut both = redis::pipe();
            let prefix = self.0.prefix(partition);
            for name in ["src", "cur"] {
                both.cmd("HGETALL").arg([&*prefix, name.as_bytes()].concat());
            }
            let found = both.query_async(&mut self.0.connection.clone()).await;
            let (sources, cursors): (OfSources, OfSources) = self.answer(found)?;
            for (hash, newest) in sources {
                let behind = cursors.get(&hash).is_none_or(|cursor| **cursor < newest[..8]);
                if behind && let Ok(hash) = hash.try_into() {
                    let (source, _) = reply::newest(&newest, SourceHash(hash))?;
                    self.0.unplanned.mark([source]);
                }
            }
            Ok::<_, StoreError>(())
        };
        match looked.await {
            Ok(()) => self.0.looked(partition, saw),
            Err(error) => tracing::warn!(partition, %error, "cannot see what is to be planned"),
        }
    }
}
