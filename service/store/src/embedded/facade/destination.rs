//! A destination to its callers: whether it is held, how much waits, what waited too long.

use crate::{
    contract::{Backlog, Ending, Hold, HoldLedger, Millis, Queue, Reason, Removed, StoreError},
    embedded::{
        Store,
        command::Command,
        expire,
        keys::{QueueKey, Space},
    },
    fault::Fault,
    holds::{self, Place},
};

impl Store {
    #[expect(clippy::unused_async, reason = "as every store has it")]
    pub(crate) async fn hold_ledger(&self, queue: &Queue) -> Result<HoldLedger, StoreError> {
        let engine = self.0.shared.engine()?;
        let stored = engine.space(Space::Holds).get(QueueKey::of(queue).0).map_err(Fault::from)?;
        Ok(holds::read(stored.as_deref())?)
    }

    pub(crate) async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), StoreError> {
        let queue = QueueKey::of(queue);
        let place = Place::Taken;
        self.ask(|answer| Command::Hold { queue, hold, place, answer }).await.map(drop)
    }

    pub(crate) async fn hold_if_free(&self, queue: &Queue, hold: Hold) -> Result<bool, StoreError> {
        let (queue, place) = (QueueKey::of(queue), Place::Free);
        self.ask(|answer| Command::Hold { queue, hold, place, answer }).await
    }

    pub(crate) async fn end_hold(
        &self,
        queue: &Queue,
        which: Ending,
    ) -> Result<Option<Hold>, StoreError> {
        let queue = QueueKey::of(queue);
        self.ask(|answer| Command::EndHold { queue, which, answer }).await
    }

    pub(crate) async fn backlog(&self, queue: &Queue) -> Result<Backlog, StoreError> {
        let queue = QueueKey::of(queue);
        self.read(move |engine, _| expire::backlog(engine, queue)).await
    }

    pub(crate) async fn expire(
        &self,
        queue: &Queue,
        before: Millis,
        reason: Reason,
    ) -> Result<Removed, StoreError> {
        let queue = QueueKey::of(queue);
        let shared = &self.0.shared;
        let from = shared.expiring.next(&queue);
        let found = self.read(move |engine, _| expire::find(engine, queue, before, from)).await?;
        let expire::Found { places, resume } = found;
        let actions = match places.is_empty() {
            true => 0,
            false => self.ask(|answer| Command::Expire { queue, places, reason, answer }).await?,
        };
        let more = resume.is_some();
        shared.expiring.go_on(queue, resume);
        Ok(Removed { events: 0, actions, more })
    }
}
