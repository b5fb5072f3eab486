//! Work: what is to be planned, and what is to be delivered.

use segment_source_core::{event::EventId, source::SourceId};
use std::time::Duration;
use tokio::sync::futures::OwnedNotified;

use super::{Store, each};
use crate::contract::{
    LeaseToken, PlannedEvent, Queue, Settled, Settlement, StoreError, Taken, Unplanned,
};

impl Store {
    /// Waits for and takes the set of sources that got entries since the last call (after opening:
    /// those with entries not yet planned).
    pub async fn unplanned_sources(&self) -> Vec<SourceId> {
        each!(self, store => store.unplanned_sources().await)
    }

    /// Makes [`Store::unplanned_sources`] return this source again.
    pub fn mark_unplanned(&self, source: &SourceId) {
        each!(self, store => store.mark_unplanned(source))
    }

    /// The oldest entries that are not yet planned, in log order, at most `limit` and about
    /// 4 MiB. Unmappable and erased entries are passed over, and duplicates too, unless actions of
    /// the original failed or died. A repeat comes again until [`Store::pass_over`] or the plan of a
    /// later entry.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn unplanned(
        &self,
        source: &SourceId,
        limit: usize,
    ) -> Result<Vec<Unplanned>, StoreError> {
        each!(self, store => store.unplanned(source, limit).await)
    }

    /// Writes the plan of entries of this source that [`Store::unplanned`] gave, in that order:
    /// actions, their places in lanes, and the planning position, in one durable batch. Planning an
    /// entry twice changes nothing.
    ///
    /// # Errors
    /// Then nothing is known of what was written; planning again is safe.
    pub async fn plan(
        &self,
        source: &SourceId,
        planned: Vec<PlannedEvent>,
    ) -> Result<(), StoreError> {
        each!(self, store => store.plan(source, planned).await)
    }

    /// Moves the planning position to an entry that needs no plan, or none any more: a repeat. What
    /// is planned already stays planned.
    ///
    /// # Errors
    /// Then nothing is known of where the position is; asking again is safe.
    pub async fn pass_over(&self, source: &SourceId, entry: EventId) -> Result<(), StoreError> {
        each!(self, store => store.pass_over(source, entry).await)
    }

    /// Leases up to `max` heads of lanes of a queue and about 3 MiB of them, longest ready first. A
    /// queue has at most 65,536 open leases.
    ///
    /// # Errors
    /// Then nothing was leased.
    pub async fn take(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        each!(self, store => store.take(queue, max, lease).await)
    }

    /// As [`Store::take`], for a destination that is pushed to. Only the owner of the source gets
    /// something; others hear by [`Store::ready`] when they become it.
    ///
    /// # Errors
    /// Then nothing was leased.
    pub async fn take_to_push(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        match self {
            Self::Embedded(store) => store.take(queue, max, lease).await,
            Self::Redis(store) => store.take_to_push(queue, max, lease).await,
        }
    }

    /// Whether this process is the one, of all that have the store, that plans what the source has and
    /// pushes it. Those who become it hear of that by [`Store::ready`] and
    /// [`Store::unplanned_sources`].
    #[must_use]
    pub fn owns(&self, source: &SourceId) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Redis(store) => store.owns(source),
        }
    }

    /// Resolves when something changed in the queue since the call (not since the wait) that may
    /// make a take worth while: an action is ready or will be, or a lease ended.
    pub fn ready(&self, queue: &Queue) -> OwnedNotified {
        each!(self, store => store.ready(queue))
    }

    /// Ends leases, one result each, in order. Durable when it answers.
    ///
    /// # Errors
    /// Then nothing is known of which leases ended; settling again is safe.
    pub async fn settle(
        &self,
        settlements: Vec<(LeaseToken, Settlement)>,
    ) -> Result<Vec<Settled>, StoreError> {
        each!(self, store => store.settle(settlements).await)
    }

    /// Gives leases back whose consumer is gone: their actions are ready at once, the attempt
    /// counts. Unknown tokens are ignored. Does not wait.
    pub fn release(&self, tokens: Vec<LeaseToken>) {
        each!(self, store => store.release(tokens))
    }
}
