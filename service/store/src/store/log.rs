//! The log: accepting events, reading what became of them.

use segment_source_core::{event::EventId, source::SourceId};

use super::{Store, each};
use crate::contract::{Accepted, LogEntry, LogRange, NewEvent, StoreError};

impl Store {
    /// Makes every event durable (or finds it to be a duplicate of a durable one) before it
    /// answers, in order, with one synced write shared with whatever else waits at that moment.
    /// The call has its place in the order of writes as soon as it is first polled.
    ///
    /// # Errors
    /// Then nothing is known of what became of the events; the same receipts make it safe to ask
    /// again.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        each!(self, store => store.accept(events).await)
    }

    /// One entry with everything that happened to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        each!(self, store => store.event(id).await)
    }

    /// Reads at most `limit` entries of the range and about 4 MiB, newest first. None: the range
    /// has ended. Runs on a blocking thread.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_log(
        &self,
        range: LogRange,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        each!(self, store => store.read_log(range, limit).await)
    }

    /// The entries after `after` (`None`: from the first), oldest first, at most `limit` and about
    /// 4 MiB. None: there are no more.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_log_after(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        each!(self, store => store.read_log_after(source, after, limit).await)
    }

    /// The entries written after `after` (`None`: after the call), oldest first, at most `limit`
    /// and about 4 MiB; waits until there is one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next_events(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let after = match after {
            Some(after) => Some(after),
            None => each!(self, store => store.newest_of(source).await)?,
        };
        loop {
            let news = each!(self, store => store.arrived(source));
            let entries = self.read_log_after(source, after, limit).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            news.await;
        }
    }
}
