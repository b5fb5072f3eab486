//! Reading the log, to its callers.

use segment_source_core::{event::EventId, source::SourceId};

use super::{
    Store,
    page::{Bound, Range},
    reply,
};
use crate::contract::{LogEntry, LogRange, Millis, StoreError};

impl Store {
    pub(crate) async fn event(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        let Some(record) = self.entry(id).await? else { return Ok(None) };
        let Some((source, _)) = self.newest(id.source).await? else { return Ok(None) };
        Ok(self.tell(&source, vec![(id, record)]).await?.pop())
    }

    pub(crate) async fn read_log(
        &self,
        range: LogRange,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let source = range.source.hash();
        let first = |millis: Millis| EventId { millis, sequence: 0, source };
        let ends = [range.before, range.until.map(first)].into_iter().flatten();
        let until = ends.min().map_or(Bound::Open, Bound::Beyond);
        let from = range.since.map_or(Bound::Open, |since| Bound::At(first(since)));
        let range_of = Range { from, until, newest_first: true };
        let (entries, _) = self.entries(source, range_of, limit).await?;
        self.tell(&range.source, entries).await
    }

    pub(crate) async fn read_log_after(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let from = after.map_or(Bound::Open, Bound::Beyond);
        let range = Range { from, until: Bound::Open, newest_first: false };
        let (entries, _) = self.entries(source.hash(), range, limit).await?;
        self.tell(source, entries).await
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
            None => self.newest(hash).await?.map(|(_, newest)| newest),
        };
        loop {
            let news = self.0.arrivals.listen(hash);
            let entries = self.read_log_after(source, after, limit).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            news.await;
        }
    }

    /// The source's name and its newest entry.
    pub(super) async fn newest(
        &self,
        source: segment_source_core::source::SourceHash,
    ) -> Result<Option<(SourceId, EventId)>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(source, "src")).arg(&source.0);
        let stored: Option<Vec<u8>> = self.ask(&get).await?;
        stored.map(|stored| reply::newest(&stored, source)).transpose()
    }
}
