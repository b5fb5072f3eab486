//! Running again, to its callers: failed and dead actions, and whole events.

use segment_source_core::{event::ActionId, source::SourceId};

use crate::{
    contract::{ActionStatus, PlannedEvent, ReplayId, Revival, StoreError},
    embedded::{Store, command::Command, revive},
};

impl Store {
    pub(crate) async fn revive(&self, actions: Vec<Revival>) -> Result<Vec<bool>, StoreError> {
        self.ask(|answer| Command::Revive { actions, answer }).await
    }

    pub(crate) async fn dead(
        &self,
        source: &SourceId,
        after: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<ActionStatus>, StoreError> {
        let source = source.hash();
        self.read(move |engine, shared| {
            revive::dead(engine, source, after, limit, (shared.clock)())
        })
        .await
    }

    pub(crate) async fn replay(
        &self,
        replay: ReplayId,
        planned: Vec<PlannedEvent>,
    ) -> Result<Vec<Option<u16>>, StoreError> {
        let events = self.prepare(planned, |_| {})?;
        self.ask(|answer| Command::Replay { replay, events, answer }).await
    }
}
