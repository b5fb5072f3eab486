//! Removing: what is old, and what is to be forgotten.

use segment_source_core::{event::EventId, source::SourceId};

use super::{Store, each};
use crate::contract::{Removed, Retain, StoreError};

impl Store {
    /// Removes the oldest entries of a source's log that need not be kept, a step of a bounded
    /// size. An entry goes with its plans, actions and dead letters, and only when it is planned
    /// and none of its actions is still to be done.
    ///
    /// # Errors
    /// Then nothing is known of what was removed.
    pub async fn retain(&self, source: &SourceId, keep: Retain) -> Result<Removed, StoreError> {
        each!(self, store => store.retain(source, keep).await)
    }

    /// Removes body, headers, key and order key of events, payloads of their actions, and what of
    /// these still waits. That the events were there, and what became of them, stays.
    ///
    /// # Errors
    /// Then nothing is known of what was erased; asking again is safe.
    pub async fn erase(&self, events: Vec<EventId>) -> Result<Removed, StoreError> {
        each!(self, store => store.erase(events).await)
    }
}
