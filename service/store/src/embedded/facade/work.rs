//! Work to its callers: what is to be planned, and what is to be delivered.

use std::time::Duration;

use prost::Message;
use segment_source_core::{event::EventId, source::SourceId};
use tokio::sync::futures::OwnedNotified;

use crate::{
    contract::{
        LeaseToken, Leased, PlannedEvent, Queue, Settled, Settlement, StoreError, Taken, Unplanned,
    },
    embedded::{
        Store,
        command::Command,
        engine::Engine,
        keys::{self, QueueKey},
        read,
        take::{Taking, Wanted},
    },
    fault::Fault,
    records::ActionRecord,
};

impl Store {
    pub(crate) async fn unplanned_sources(&self) -> Vec<SourceId> {
        self.0.shared.unplanned.take().await
    }

    pub(crate) fn mark_unplanned(&self, source: &SourceId) {
        self.0.shared.unplanned.mark([source.clone()]);
    }

    pub(crate) async fn unplanned(
        &self,
        source: &SourceId,
        limit: usize,
    ) -> Result<Vec<Unplanned>, StoreError> {
        let hash = source.hash();
        loop {
            let found = self.read(move |engine, _| read::unplanned(engine, hash, limit)).await?;
            let Some(to) = found.passed_over else { return Ok(found.entries) };
            self.ask(|answer| Command::Advance { to, answer }).await?;
        }
    }

    pub(crate) async fn plan(
        &self,
        source: &SourceId,
        planned: Vec<PlannedEvent>,
    ) -> Result<(), StoreError> {
        let missing = |event| tracing::error!(%source, %event, "a planned event is not in the log");
        let events = self.prepare(planned, missing)?.into_iter().flatten().collect();
        self.ask(|answer| Command::Plan { events, answer }).await
    }

    pub(crate) async fn pass_over(
        &self,
        source: &SourceId,
        entry: EventId,
    ) -> Result<(), StoreError> {
        if entry.source != source.hash() {
            tracing::error!(%source, %entry, "an entry of another source is passed over");
            return Ok(());
        }
        self.ask(|answer| Command::Advance { to: entry, answer }).await
    }

    pub(crate) async fn take(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        let wanted = Wanted { queue: QueueKey::of(queue), max, lease };
        let mut granted = self.ask(|answer| Command::Take { wanted, answer }).await?;
        let engine = self.0.shared.engine()?;
        let leases = granted.taken.iter().map(|taking| leased(&engine, *taking));
        let leases = leases.collect::<Result<_, _>>()?;
        // From here on they are the caller's.
        granted.taken.clear();
        Ok(Taken { leases, next_due: granted.next_due })
    }

    pub(crate) fn ready(&self, queue: &Queue) -> OwnedNotified {
        self.0.shared.queues.listen(QueueKey::of(queue))
    }

    pub(crate) async fn settle(
        &self,
        settlements: Vec<(LeaseToken, Settlement)>,
    ) -> Result<Vec<Settled>, StoreError> {
        self.ask(|answer| Command::Settle { settlements, answer }).await
    }

    pub(crate) fn release(&self, tokens: Vec<LeaseToken>) {
        self.0.shared.release(tokens.into_iter());
        // Full: then the writer is awake and finds them.
        let _ = self.0.commands.try_send(Command::Released);
    }
}

/// Reads what a lease is for.
fn leased(engine: &Engine, taking: Taking) -> Result<Leased, Fault> {
    let Taking { token, expires, attempt, first_attempt, action } = taking;
    let stored = match engine.day(action.event.millis) {
        Some(day) => day.actions.get(keys::action(action))?,
        None => None,
    };
    let stored = stored.ok_or(Fault::damaged("an action"))?;
    let record = ActionRecord::decode(&*stored)?.into();
    Ok(Leased { token, expires, attempt, first_attempt, action, record })
}
