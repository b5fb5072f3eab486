//! A client of the program somewhere else: gRPC over TLS, with a token.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use segment_source_proto::{
    admin::v1::{EventFilter, EventSummary},
    queue::v1::Delivery,
};
use tonic::Status;

use crate::{kube::netns::Forward, read::Reader, tls};

/// The client, until it is dropped.
#[derive(Debug)]
pub struct Remote {
    reader: Reader,
    _forward: Forward,
}

impl Deref for Remote {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Remote {
    /// Connects when it is first used.
    #[must_use]
    pub fn new(forward: Forward, ca: &[u8], token: &str) -> Self {
        let channel = tls::connect(forward.address, "ingest", ca, None);
        Self { reader: Reader::new(channel, Some(token)), _forward: forward }
    }

    /// Takes and acks everything there is, until nothing more comes.
    ///
    /// # Panics
    /// When a call fails, or an action cannot be settled.
    pub async fn drain(&self, source: (&str, &str)) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            let taken = self.pull(source, 1000, Duration::from_secs(2)).await;
            let taken = taken.expect("actions are pulled");
            if taken.is_empty() {
                return all;
            }
            self.ack_all(&taken).await;
            all.extend(taken);
        }
    }

    /// A source's whole log, newest first.
    ///
    /// # Errors
    /// What the server says.
    pub async fn events(&self, source: (&str, &str)) -> Result<Vec<EventSummary>, Status> {
        self.events_until(source, EventFilter::default(), |_| false).await
    }

    /// How often each key was accepted as new.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn accepted(&self, source: (&str, &str)) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for event in self.events(source).await.expect("events are listed") {
            if event.duplicate_of.is_empty() {
                *keys.entry(event.key).or_default() += 1;
            }
        }
        keys
    }
}
