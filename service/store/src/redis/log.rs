//! Reading the log, to its callers.

use segment_source_core::{event::EventId, source::SourceId};
use tokio::sync::futures::OwnedNotified;

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

    /// The newest entry of a source.
    pub(crate) async fn newest_of(&self, source: &SourceId) -> Result<Option<EventId>, StoreError> {
        Ok(self.newest(source.hash()).await?.map(|(_, newest)| newest))
    }

    /// Resolves when the source got entries since the call.
    pub(crate) fn arrived(&self, source: &SourceId) -> OwnedNotified {
        self.0.arrivals.listen(source.hash())
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
