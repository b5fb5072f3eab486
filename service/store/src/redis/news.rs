//! What scripts publish, to those who wait for it in this process.

use std::{collections::HashMap, pin::pin};

use futures_util::StreamExt as _;
use segment_source_core::source::SourceHash;

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
                let Some((source, news)) = news.split_first_chunk() else { return };
                let source = SourceHash(*source);
                self.0.arrivals.ring([&source]);
                let Some((holder, name)) = news.split_first_chunk() else { return };
                if *holder != self.0.holder && self.0.owns(source) {
                    let name = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
                    self.0.unplanned.mark(name);
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

    /// Sources of a partition that have entries behind their cursor.
    pub(super) async fn look_for_unplanned(&self, partition: u64) {
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
        if let Err(error) = looked.await {
            tracing::warn!(partition, %error, "cannot see what is to be planned");
        }
    }
}
