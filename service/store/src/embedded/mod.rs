//! The embedded store.

use std::{path::Path, time::Duration};

use segment_source_core::{
    event::{Event, EventId},
    source::SourceId,
};

use crate::contract::*;

/// Settings of the embedded store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Below this many free bytes no event is accepted; half of it is left for settling.
    pub reserve: u64,
}

/// The embedded store: cheap to clone, one per folder.
#[derive(Clone)]
pub struct Store {}

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// another process has it
    #[error("locked")]
    Locked,
}

#[allow(clippy::todo, clippy::unused_async, missing_docs, clippy::missing_errors_doc)]
impl Store {
    /// Opens or creates the store in `dir`.
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let _ = (dir, options, clock);
        todo!()
    }

    /// Makes every event durable (or finds it to be a duplicate of a durable one) before it
    /// answers, in order, with one synced write shared with whatever else waits at that moment.
    /// The call has its place in the order of writes as soon as it is first polled.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        let _ = events;
        todo!()
    }

    /// Waits for and takes the set of sources that got entries since the last call (after opening:
    /// those with entries not yet planned).
    pub async fn unplanned_sources(&self) -> Vec<SourceId> {
        todo!()
    }

    /// Makes [`Store::unplanned_sources`] return this source again.
    pub fn mark_unplanned(&self, source: &SourceId) {
        let _ = source;
        todo!()
    }

    /// The oldest entries that are not yet planned, in log order, at most `limit` and about
    /// 4 MiB. Duplicates and unmappable entries are passed over.
    pub async fn unplanned(
        &self,
        source: &SourceId,
        limit: usize,
    ) -> Result<Vec<(EventId, Event)>, StoreError> {
        let _ = (source, limit);
        todo!()
    }

    /// Writes the plan of entries that [`Store::unplanned`] gave, in that order: actions, their
    /// places in lanes, and the planning position, in one durable batch. Planning an entry twice
    /// changes nothing.
    pub async fn plan(
        &self,
        source: &SourceId,
        planned: Vec<PlannedEvent>,
    ) -> Result<(), StoreError> {
        let _ = (source, planned);
        todo!()
    }

    /// Leases up to `max` heads of lanes of a queue, longest ready first.
    pub async fn take(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        let _ = (queue, max, lease);
        todo!()
    }

    /// Resolves when something became ready in the queue since the call (not since the wait).
    pub fn ready(&self, queue: &Queue) -> tokio::sync::futures::OwnedNotified {
        let _ = queue;
        todo!()
    }

    /// Ends leases, one result each, in order. Durable when it answers.
    pub async fn settle(
        &self,
        settlements: Vec<(LeaseToken, Settlement)>,
    ) -> Result<Vec<Settled>, StoreError> {
        let _ = settlements;
        todo!()
    }

    /// Gives leases back whose consumer is gone: their actions are ready at once, the attempt
    /// counts. Unknown tokens are ignored. Does not wait.
    pub fn release(&self, tokens: Vec<LeaseToken>) {
        let _ = tokens;
        todo!()
    }

    /// One entry with everything that happened to it.
    pub async fn event(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        let _ = id;
        todo!()
    }

    /// Reads at most `limit` entries of the range, newest first. Fewer than `limit`: the range has
    /// ended. Runs on a blocking thread.
    pub async fn read_log(
        &self,
        range: LogRange,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let _ = (range, limit);
        todo!()
    }

    /// The entries written after `after` (`None`: after the call), oldest first, at most `limit`;
    /// waits until there is one.
    pub async fn next_events(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let _ = (source, after, limit);
        todo!()
    }

    /// Stops taking writes, lets those under way finish, syncs and closes.
    pub async fn close(&self) {
        todo!()
    }
}
