//! A destination: whether it is held, how much waits, what waited too long.

use super::{Store, each};
use crate::contract::{
    Backlog, Ending, Hold, HoldLedger, Millis, Queue, Reason, Removed, StoreError,
};

impl Store {
    /// What is remembered of a destination; nothing: the default. One small record, asked for before
    /// every take and read on the spot: another thread would cost a busy machine more time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn hold_ledger(&self, queue: &Queue) -> Result<HoldLedger, StoreError> {
        each!(self, store => store.hold_ledger(queue).await)
    }

    /// Holds a destination, in place of a hold that there is; but one of the destination itself
    /// (`refused`) does not replace one by hand. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), StoreError> {
        each!(self, store => store.hold(queue, hold).await)
    }

    /// Holds a destination that is not held; one that is stays held as it is. Whether it was held
    /// by this. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn hold_if_free(&self, queue: &Queue, hold: Hold) -> Result<bool, StoreError> {
        each!(self, store => store.hold_if_free(queue, hold).await)
    }

    /// Ends a hold if it is the one that is meant, and remembers from when to when it was; `None`:
    /// there was none such. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn end_hold(&self, queue: &Queue, which: Ending) -> Result<Option<Hold>, StoreError> {
        each!(self, store => store.end_hold(queue, which).await)
    }

    /// How much waits for a destination, now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn backlog(&self, queue: &Queue) -> Result<Backlog, StoreError> {
        each!(self, store => store.backlog(queue).await)
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
        each!(self, store => store.expire(queue, before, reason).await)
    }
}
