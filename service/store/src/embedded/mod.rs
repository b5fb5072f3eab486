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
//! states), so that one read finds an event's whole story, and retention can drop a day at once.
//!
//! **Lanes.** Actions of one destination and order key stand in a lane, on disk. Only the head of
//! a lane stands among its queue's *ready* (numbered in the order in which they became so: first
//! come, first served, no lane starves) or, while it waits out a delay, among its *delayed*
//! (sorted by time). Takes read the ready from where the last one stopped: what lies behind are the
//! leased ones, exactly. So a take costs the same with ten waiting lanes and with ten million, and
//! never reads what was deleted.
//!
//! **Leases** live in memory, as what they protect against does. When one ends, its head is
//! removed, put back last among the ready, or put among the delayed, and the next of its lane gets
//! ready. After a crash there are no leases, and every head is where it was; attempts cut short by
//! a crash are the only ones that are not counted.
//!
//! **Failure.** A failed write leaves nothing half done. The writer answers `Unavailable`, lets go
//! of the engine, opens it again, and writes again what it recovered before it says anything that
//! rests on it.
//!
//! Layouts: `keys.rs` and `records.rs`.

mod accept;
mod bells;
mod command;
mod engine;
mod fault;
mod group;
mod keys;
mod lanes;
mod leases;
mod numbers;
mod open;
mod plan;
mod read;
mod records;
mod settle;
mod shared;
mod space;
mod state;
mod take;
mod txn;
mod writer;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use segment_source_core::{
    event::{ActionId, EventId},
    source::SourceId,
};
use tokio::sync::{futures::OwnedNotified, mpsc, oneshot};

pub use self::open::{OpenError, Options};
use self::{
    accept::Fingerprints,
    command::{Answer, Command},
    engine::Engine,
    fault::Fault,
    keys::QueueKey,
    open::WriterThread,
    records::ActionRecord,
    shared::Shared,
    take::{Taking, Wanted},
};
use crate::contract::*;

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
    /// Makes every event durable (or finds it to be a duplicate of a durable one) before it
    /// answers, in order, with one synced write shared with whatever else waits at that moment.
    /// The call has its place in the order of writes as soon as it is first polled.
    ///
    /// # Errors
    /// Then nothing is known of what became of the events; the same receipts make it safe to ask
    /// again.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        let fingerprints = &self.0.fingerprints;
        let events = events.into_iter().map(|event| accept::Prepared::new(fingerprints, event));
        let events = events.collect();
        self.ask(|answer| Command::Accept { events, answer }).await
    }

    /// Waits for and takes the set of sources that got entries since the last call (after opening:
    /// those with entries not yet planned).
    pub async fn unplanned_sources(&self) -> Vec<SourceId> {
        loop {
            let sources = self.0.shared.take_unplanned();
            if !sources.is_empty() {
                return sources;
            }
            self.0.shared.unplanned_bell.notified().await;
        }
    }

    /// Makes [`Store::unplanned_sources`] return this source again.
    pub fn mark_unplanned(&self, source: &SourceId) {
        self.0.shared.mark_unplanned(source);
    }

    /// The oldest entries that are not yet planned, in log order, at most `limit` and about
    /// 4 MiB. Duplicates and unmappable entries are passed over.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn unplanned(
        &self,
        source: &SourceId,
        limit: usize,
    ) -> Result<Vec<Unplanned>, StoreError> {
        let hash = source.hash();
        loop {
            let found = self.read(move |engine, _| read::unplanned(engine, hash, limit)).await?;
            let Some(to) = found.passed_over else {
                let entries = found.entries.into_iter();
                return Ok(entries.map(|(id, event)| Unplanned::Event(id, event)).collect());
            };
            self.ask(|answer| Command::Advance { to, answer }).await?;
        }
    }

    /// Writes the plan of entries that [`Store::unplanned`] gave, in that order: actions, their
    /// places in lanes, and the planning position, in one durable batch. Planning an entry twice
    /// changes nothing.
    ///
    /// # Errors
    /// Then nothing is known of what was written; planning again is safe.
    pub async fn plan(
        &self,
        source: &SourceId,
        planned: Vec<PlannedEvent>,
    ) -> Result<(), StoreError> {
        let engine = self.0.shared.engine()?;
        let mut events = Vec::with_capacity(planned.len());
        for planned in planned {
            let event = planned.event;
            match plan::Prepared::new(&engine, planned)? {
                Some(prepared) => events.push(prepared),
                None => tracing::error!(%source, %event, "a planned event is not in the log"),
            }
        }
        drop(engine);
        self.ask(|answer| Command::Plan { events, answer }).await
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
        let wanted = Wanted { queue: QueueKey::of(queue), max, lease };
        let mut granted = self.ask(|answer| Command::Take { wanted, answer }).await?;
        let engine = self.0.shared.engine()?;
        let leases = granted.taken.iter().map(|taking| leased(&engine, *taking));
        let leases = leases.collect::<Result<_, _>>()?;
        // From here on they are the caller's.
        granted.taken.clear();
        Ok(Taken { leases, next_due: granted.next_due })
    }

    /// Resolves when something changed in the queue since the call (not since the wait) that may
    /// make a take worth while: an action is ready or will be, or a lease ended.
    pub fn ready(&self, queue: &Queue) -> OwnedNotified {
        self.0.shared.queues.listen(QueueKey::of(queue))
    }

    /// Ends leases, one result each, in order. Durable when it answers.
    ///
    /// # Errors
    /// Then nothing is known of which leases ended; settling again is safe.
    pub async fn settle(
        &self,
        settlements: Vec<(LeaseToken, Settlement)>,
    ) -> Result<Vec<Settled>, StoreError> {
        self.ask(|answer| Command::Settle { settlements, answer }).await
    }

    /// Puts failed and dead actions at the end of their lanes again. `true` for each that was one
    /// of these and now waits; an action in any other state is left alone.
    ///
    /// # Errors
    /// Then nothing is known of what was written; asking again is safe.
    pub async fn revive(&self, actions: Vec<Revival>) -> Result<Vec<bool>, StoreError> {
        todo!("{actions:?}")
    }

    /// Writes plans of events that were planned before as a new run of each. `None` for an event
    /// that has a run of this replay already, or is not in the log.
    ///
    /// # Errors
    /// Then nothing is known of what was written; asking again under the same id is safe.
    pub async fn replay(
        &self,
        replay: ReplayId,
        planned: Vec<PlannedEvent>,
    ) -> Result<Vec<Option<u16>>, StoreError> {
        todo!("{replay:?} {planned:?}")
    }

    /// Failed and dead actions of a source in the order of their ids, behind `after`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn dead(
        &self,
        source: &SourceId,
        after: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<ActionStatus>, StoreError> {
        todo!("{source} {after:?} {limit}")
    }

    /// What is remembered of a destination; nothing: the default.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn hold_ledger(&self, queue: &Queue) -> Result<HoldLedger, StoreError> {
        todo!("{queue}")
    }

    /// Holds a destination, in place of a hold that there is; but one of the destination itself
    /// (`refused`) does not replace one by hand. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), StoreError> {
        todo!("{queue} {hold:?}")
    }

    /// Ends a hold, and remembers from when to when it was; `None`: there was none. With
    /// `refused_only`, one by hand stays. Rings [`Store::ready`].
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn end_hold(
        &self,
        queue: &Queue,
        refused_only: bool,
    ) -> Result<Option<Hold>, StoreError> {
        todo!("{queue} {refused_only}")
    }

    /// How much waits for a destination, now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn backlog(&self, queue: &Queue) -> Result<Backlog, StoreError> {
        todo!("{queue}")
    }

    /// Makes actions of a queue dead letters whose events were accepted before; a step of a bounded
    /// size. Leased ones are left.
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn expire(
        &self,
        queue: &Queue,
        before: Millis,
        reason: Reason,
    ) -> Result<Removed, StoreError> {
        todo!("{queue} {before} {reason:?}")
    }

    /// Entries of a source's directory by their keys, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory(
        &self,
        source: &SourceId,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<DirectoryRecord>>, StoreError> {
        todo!("{source} {keys:?}")
    }

    /// Entries whose keys begin with `prefix`, in order, behind `after`, at most `limit` and about
    /// 4 MiB; and the source's newest revision from before they were read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory_scan(
        &self,
        source: &SourceId,
        prefix: Bytes,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, DirectoryRecord)>, u64), StoreError> {
        todo!("{source} {prefix:?} {after:?} {limit}")
    }

    /// Entries that changed after a revision, each once with its newest revision, in the order of
    /// revisions, at most `limit` and about 4 MiB.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory_changes(
        &self,
        source: &SourceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Bytes, DirectoryRecord)>, StoreError> {
        todo!("{source} {after} {limit}")
    }

    /// Resolves when the source's directory changed since the call.
    pub fn directory_changed(&self, source: &SourceId) -> OwnedNotified {
        todo!("{source}")
    }

    /// Writes entries of a source's directory, one result each, in order; a later one sees what an
    /// earlier one wrote. Durable when it answers.
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn directory_write(
        &self,
        source: &SourceId,
        writes: Vec<DirectoryWrite>,
    ) -> Result<Vec<Written>, StoreError> {
        todo!("{source} {writes:?}")
    }

    /// Removes the oldest entries of a source's log that need not be kept, a step of a bounded
    /// size. An entry goes with its plans, actions and dead letters, and only when it is planned
    /// and none of its actions is still to be done.
    ///
    /// # Errors
    /// Then nothing is known of what was removed.
    pub async fn retain(&self, source: &SourceId, keep: Retain) -> Result<Removed, StoreError> {
        todo!("{source} {keep:?}")
    }

    /// Removes body, headers, key and order key of events, payloads of their actions, and what of
    /// these still waits. That the events were there, and what became of them, stays.
    ///
    /// # Errors
    /// Then nothing is known of what was erased; asking again is safe.
    pub async fn erase(&self, events: Vec<EventId>) -> Result<Removed, StoreError> {
        todo!("{events:?}")
    }

    /// Gives leases back whose consumer is gone: their actions are ready at once, the attempt
    /// counts. Unknown tokens are ignored. Does not wait.
    pub fn release(&self, tokens: Vec<LeaseToken>) {
        self.0.shared.release(tokens.into_iter());
        // Full: then the writer is awake and finds them.
        let _ = self.0.commands.try_send(Command::Released);
    }

    /// One entry with everything that happened to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        self.read(move |engine, shared| read::event(engine, shared, id)).await
    }

    /// Reads at most `limit` entries of the range and about 4 MiB, newest first. None: the range
    /// has ended. Runs on a blocking thread.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_log(
        &self,
        range: LogRange,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.read(move |engine, shared| read::range(engine, shared, &range, limit)).await
    }

    /// The entries written after `after` (`None`: after the call), oldest first, at most `limit`
    /// and about 4 MiB; waits until there is one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next_events(
        &self,
        source: &SourceId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let hash = source.hash();
        let after = match after {
            Some(after) => Some(after),
            None => read::newest(&*self.0.shared.engine()?, hash)?.map(|(_, newest)| newest),
        };
        loop {
            let news = self.0.shared.arrivals.listen(hash);
            let of = source.clone();
            let entries = self
                .read(move |engine, shared| read::after(engine, shared, &of, after, limit))
                .await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            news.await;
        }
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
