//! The log to its callers: accepting events, reading what became of them.

use segment_source_core::{event::EventId, source::SourceId};
use tokio::sync::futures::OwnedNotified;

use crate::{
    contract::{Accepted, LogEntry, LogRange, NewEvent, StoreError},
    embedded::{Store, accept, command::Command, read},
};

impl Store {
    pub(crate) async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        let fingerprints = &self.0.fingerprints;
        let events = events.into_iter().map(|event| accept::Prepared::new(fingerprints, event));
        let events = events.collect();
        self.ask(|answer| Command::Accept { events, answer }).await
    }

    pub(crate) async fn event(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        self.read(move |engine, shared| read::event(engine, shared, id)).await
    }

    pub(crate) async fn read_log(
        &self,
        range: LogRange,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.read(move |engine, shared| read::range(engine, shared, &range, limit)).await
    }

    pub(crate) async fn read_log_after(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let source = source.clone();
        self.read(move |engine, shared| read::after(engine, shared, &source, after, limit)).await
    }

    /// The newest entry of a source.
    pub(crate) async fn newest_of(&self, source: &SourceId) -> Result<Option<EventId>, StoreError> {
        let source = source.hash();
        let newest = self.read(move |engine, _| read::newest(engine, source)).await?;
        Ok(newest.map(|(_, newest)| newest))
    }

    /// Resolves when the source got entries since the call.
    pub(crate) fn arrived(&self, source: &SourceId) -> OwnedNotified {
        self.0.shared.arrivals.listen(source.hash())
    }
}
