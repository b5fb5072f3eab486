//! The log to its callers: accepting events, reading what became of them.

use segment_source_core::{event::EventId, source::SourceId};

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

    pub(crate) async fn next_events(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let hash = source.hash();
        let after = match after {
            Some(after) => Some(after),
            None => read::newest(&*self.0.shared.engine()?, hash)?.map(|(_, newest)| newest),
        };
        loop {
            let news = self.0.shared.arrivals.listen(hash);
            let of = source.clone();
            let entries = self
                .read(move |engine, shared| read::after(engine, shared, &of, after, limit))
                .await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            news.await;
        }
    }
}
