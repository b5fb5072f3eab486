//! A destination to its callers: whether it is held, how much waits, what waited too long.

use crate::{
    contract::{Backlog, Ending, Hold, HoldLedger, Millis, Queue, Reason, Removed, StoreError},
    embedded::{
        Store,
        command::Command,
        expire,
        fault::Fault,
        holds::{self, Place},
        keys::{QueueKey, Space},
        shared,
    },
};

impl Store {
    /// What is remembered of a destination; nothing: the default. One small record, asked for before
    /// every take and read on the spot: another thread would cost a busy machine more time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hold_ledger(&self, queue: &Queue) -> Result<HoldLedger, StoreError> {
        let engine = self.0.shared.engine()?;
        let stored = engine.space(Space::Holds).get(QueueKey::of(queue).0).map_err(Fault::from)?;
        Ok(holds::read(stored.as_deref())?)
    }

    /// Holds a destination, in place of a hold that there is; but one of the destination itself
    /// (`refused`) does not replace one by hand. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), StoreError> {
        let queue = QueueKey::of(queue);
        let place = Place::Taken;
        self.ask(|answer| Command::Hold { queue, hold, place, answer }).await.map(drop)
    }

    /// Holds a destination that is not held; one that is stays held as it is. Whether it was held
    /// by this. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn hold_if_free(&self, queue: &Queue, hold: Hold) -> Result<bool, StoreError> {
        let (queue, place) = (QueueKey::of(queue), Place::Free);
        self.ask(|answer| Command::Hold { queue, hold, place, answer }).await
    }

    /// Ends a hold if it is the one that is meant, and remembers from when to when it was; `None`:
    /// there was none such. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn end_hold(&self, queue: &Queue, which: Ending) -> Result<Option<Hold>, StoreError> {
        let queue = QueueKey::of(queue);
        self.ask(|answer| Command::EndHold { queue, which, answer }).await
    }

    /// How much waits for a destination, now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn backlog(&self, queue: &Queue) -> Result<Backlog, StoreError> {
        let queue = QueueKey::of(queue);
        self.read(move |engine, _| expire::backlog(engine, queue)).await
    }

    /// Makes actions of a queue dead letters whose events were accepted before, or which were revived
    /// or replayed before; a step of a bounded size. Leased ones are left.
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn expire(
        &self,
        queue: &Queue,
        before: Millis,
        reason: Reason,
    ) -> Result<Removed, StoreError> {
        let queue = QueueKey::of(queue);
        let shared = &self.0.shared;
        let from = shared::resumed(&shared.expiring, &queue);
        let found = self.read(move |engine, _| expire::find(engine, queue, before, from)).await?;
        let expire::Found { places, resume } = found;
        let actions = match places.is_empty() {
            true => 0,
            false => self.ask(|answer| Command::Expire { queue, places, reason, answer }).await?,
        };
        let more = resume.is_some();
        shared::resume(&shared.expiring, queue, resume);
        Ok(Removed { events: 0, actions, more })
    }
}
