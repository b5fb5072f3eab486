//! Running again: failed and dead actions, and whole events.

use segment_source_core::{event::ActionId, source::SourceId};

use super::{Store, each};
use crate::contract::{ActionStatus, PlannedEvent, ReplayId, Revival, StoreError};

impl Store {
    /// Puts failed and dead actions at the end of their lanes again. `true` for each that was one
    /// of these and now waits; an action in any other state is left alone.
    ///
    /// # Errors
    /// Then nothing is known of what was written; asking again is safe.
    pub async fn revive(&self, actions: Vec<Revival>) -> Result<Vec<bool>, StoreError> {
        each!(self, store => store.revive(actions).await)
    }

    /// Failed and dead actions of a source in the order of their ids, behind `after`,
    /// about 4 MiB at the most. Erased ones are not among them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn dead(
        &self,
        source: &SourceId,
        after: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<ActionStatus>, StoreError> {
        each!(self, store => store.dead(source, after, limit).await)
    }

    /// Writes plans of events that were planned before as a new run of each. `None` for an event
    /// that has a run of this replay already, or is not in the log, not planned yet or erased.
    ///
    /// # Errors
    /// Then nothing is known of what was written; asking again under the same id is safe.
    pub async fn replay(
        &self,
        replay: ReplayId,
        planned: Vec<PlannedEvent>,
    ) -> Result<Vec<Option<u16>>, StoreError> {
        each!(self, store => store.replay(replay, planned).await)
    }
}
