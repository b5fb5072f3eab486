//! The embedded store: one folder, one process, one writer, on fjall (an LSM tree whose batches
//! are atomic over keyspaces).
//!
//! # The story of the data
//!
//! **The writer.** One thread writes; callers send it commands and wait. It takes whatever waits
//! at that moment (a group), applies it to one transaction in which the later commands see what
//! the earlier ones did, commits that with one sync, and only then answers all of them. While it
//! syncs, the next group gathers by itself. Everything that needs no order (fingerprints,
//! encoding, reading events and payloads) is done by the callers.
//!
//! **Claims.** A key's fingerprint (scoped by source and event type), or the receipt of an event
//! without one, points to its event for as long as the claim lives: from the first acceptance for
//! the window that was asked for then. A repeat is a duplicate and gets a short log entry; the same
//! submission again (same receipt) is the original and gets none. Claims that are over are ignored
//! when read, and dropped when the engine compacts them.
//!
//! **The log.** Event ids are time and sequence and only grow, so a source's log is sorted by
//! acceptance even if the clock steps back. A cursor per source says how far it is planned. Each
//! day has keyspaces of its own: for the entries, and for what became of them (plan, actions,
//! states), so that one read finds an event's whole story, and an empty day can be dropped at once.
//!
//! **Lanes.** Actions of one destination and order key stand in a lane, on disk. Only the head of
//! a lane stands among its queue's *ready* (numbered in the order in which they became so: first
//! come, first served, no lane starves) or, while it waits out a delay, among its *delayed*
//! (sorted by time). Takes read the ready from where the last one stopped: what lies behind are the
//! leased ones, exactly. So a take costs the same with ten waiting lanes and with ten million, and
//! never reads what was deleted.
//!
//! **Leases** live in memory, as what they protect against does, and are measured by a clock that
//! nobody sets. When one ends, its head is removed, put back last among the ready, or put among the
//! delayed, and the next of its lane gets ready. After a crash there are no leases, and every head is
//! where it was; attempts cut short by a crash are the only ones that are not counted.
//!
//! **Again.** A dead action that is revived, and each action of a replay, stands at the end of its
//! lane with the moment at which it came there; from then on it waits.
//!
//! **Removal.** What may go is found by readers, and removed by the writer if nothing began to run
//! again in between. The bytes of each source's log are counted with the writes that change them.
//! Days of which everything is removed are dropped.
//!
//! **Directories** compare revisions; the index of their changes has one place an entry.
//!
//! **Failure.** A failed write leaves nothing half done. The writer answers `Unavailable`, lets go
//! of the engine, opens it again, and writes again what it recovered before it says anything that
//! rests on it.
//!
//! Layouts: `keys.rs` and `records.rs`; what is kept of one action, `item.rs` and `state.rs`; of a
//! destination, `holds.rs`.

mod accept;
mod command;
mod directory;
mod engine;
mod erase;
mod expire;
mod facade;
mod group;
mod item;
mod keys;
mod lanes;
mod leases;
mod numbers;
mod open;
mod plan;
mod read;
mod retain;
mod revive;
mod settle;
mod shared;
mod space;
mod state;
mod stored;
mod take;
mod txn;
mod writer;

use std::sync::Arc;

use segment_source_core::event::EventId;
use tokio::sync::{mpsc, oneshot};

pub use self::open::{OpenError, Options};
use self::{
    command::{Answer, Command},
    engine::Engine,
    open::WriterThread,
    shared::Shared,
};
use crate::{
    contract::{Millis, PlannedEvent, StoreError},
    fault::Fault,
    fingerprint::Fingerprints,
};

/// The embedded store: cheap to clone, one per folder. Dropping the last clone waits for the write
/// that is under way and gives the folder free; what was answered is on disk either way.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

/// Dropped in this order: the writer ends when nobody can send it commands.
struct Handle {
    commands: mpsc::Sender<Command>,
    writer: WriterThread,
    shared: Arc<Shared>,
    fingerprints: Fingerprints,
}

impl Store {
    /// What its clock says. Whoever compares with times that the store gave out asks this one.
    #[must_use]
    pub fn now(&self) -> Millis {
        (self.0.shared.clock)()
    }

    /// The latest time that is known to have been, from the ids of events; 0 in a new folder.
    ///
    /// # Errors
    /// When the store is closed or cannot read.
    pub fn newest(&self) -> Result<Millis, StoreError> {
        Ok(numbers::newest(&*self.0.shared.engine()?)?)
    }

    /// Stops taking writes, lets those under way finish, gives open leases back, syncs and closes.
    /// Whatever is asked later is answered `Closing`.
    pub async fn close(&self) {
        // Refused: it is closed already.
        let _ = self.0.commands.send(Command::Close).await;
        let store = self.clone();
        let joined = tokio::task::spawn_blocking(move || store.0.writer.join()).await;
        if let Err(error) = joined {
            tracing::error!(%error, "the store's writer could not be waited for");
        }
    }

    /// Does what needs no order; `None` for what is not in the log.
    fn prepare(
        &self,
        planned: Vec<PlannedEvent>,
        missing: impl Fn(EventId),
    ) -> Result<Vec<Option<plan::Prepared>>, StoreError> {
        let engine = self.0.shared.engine()?;
        let mut events = Vec::with_capacity(planned.len());
        for planned in planned {
            let event = planned.event;
            let prepared = plan::Prepared::new(&engine, planned)?;
            if prepared.is_none() {
                missing(event);
            }
            events.push(prepared);
        }
        Ok(events)
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        // Unconstrained: a task that has polled a lot would else not get its place in the queue.
        let sending = tokio::task::unconstrained(self.0.commands.send(command(answer)));
        sending.await.map_err(|_| StoreError::Closing)?;
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(match self.0.shared.engine() {
                Err(why) => why,
                Ok(_) => StoreError::Unavailable("the storage engine failed; see the log".into()),
            }),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine, &Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.0.shared.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let engine = shared.engine()?;
            Ok(read(&engine, &shared)?)
        });
        reading.await.map_err(|_| StoreError::Closing)?
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.shared.dir).finish()
    }
}
