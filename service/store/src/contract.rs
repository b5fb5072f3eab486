//! What every store promises: the values that go in and come out. How they are kept is the
//! engine's business ([`crate::embedded`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use segment_source_core::{
    event::{ActionId, Event, EventId},
    source::{DestinationId, SourceHash, SourceId},
};

/// Milliseconds since 1970. Stores ask a [`Clock`] and never the system, so that tests can move
/// time.
pub type Millis = u64;

/// Where a store gets the time from. It may step back; stores cope.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Identity of one submitted element: 16 random bytes of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub [u8; 16]);

/// An event on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Whose event it is.
    pub source: SourceId,
    /// Which submission it is; the same receipt is stored once.
    pub receipt: Receipt,
    /// For how long `event.key` is claimed, scoped by source and event type; `None`: the event has
    /// no key, and only its receipt is remembered, for [`RECEIPT_WINDOW`].
    pub window: Option<Duration>,
    /// What is written.
    pub event: Event,
}

/// For how long the receipt of an event without a key is remembered.
pub const RECEIPT_WINDOW: Duration = Duration::from_mins(10);

/// What became of a [`NewEvent`]. It is on disk in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A new log entry. The same submission again (same receipt) gives the same answer.
    New(EventId),
    /// A short log entry that refers to the event whose key is still claimed.
    Duplicate {
        /// The entry made for this copy.
        entry: EventId,
        /// The event it repeats.
        original: EventId,
    },
}

/// An entry of the log that the planner has not yet seen.
#[derive(Clone, Debug)]
pub enum Unplanned {
    /// To be planned.
    Event(EventId, Event),
    /// A repeat. If actions of the original failed or died, they run again.
    Repeat {
        /// The entry of the repeat, up to which the cursor moves.
        entry: EventId,
        /// What it repeats.
        original: EventId,
    },
}

/// A failed or dead action that runs again, as the last of its lane, under the same id.
#[derive(Clone, Debug)]
pub struct Revival {
    /// Which.
    pub action: ActionId,
    /// What a failed one was rendered into now; `None`: the stored bytes.
    pub payload: Option<Bytes>,
}

/// Names a replay, so that no event is replayed twice under one name: chosen by who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayId(pub [u8; 16]);

/// What is remembered of a destination across restarts. What it means is the delivery's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldLedger {
    /// Set while it is held.
    pub hold: Option<Hold>,
    /// Begin and end of earlier holds, oldest first.
    pub past: Vec<(Millis, Millis)>,
}

/// Why nothing is delivered to a destination, or why its time stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: Millis,
    /// Until when; `None`: until it is released.
    pub until: Option<Millis>,
    /// By the destination itself, which refuses the credential; otherwise by hand, or because its
    /// source is suspended.
    pub refused: bool,
    /// In words.
    pub reason: String,
}

impl Hold {
    /// Whether it has ended by its own time, and is only to be remembered.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Which hold is to end, decided where it is written: what was read before may have been replaced
/// in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Whichever there is.
    Any,
    /// One whose time is up.
    Over,
    /// One of the destination itself.
    Refused,
    /// Just this one.
    This(Hold),
}

/// An entry of a source's directory. Keys and values are the directory's business; keys sort as
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRecord {
    /// The write that made it: grows with every write of the source, and never repeats.
    pub revision: u64,
    /// What was written.
    pub value: Bytes,
}

/// A write to a source's directory that takes place only if nobody wrote the entry in between.
#[derive(Clone, Debug)]
pub struct DirectoryWrite {
    /// Which entry; 1 to 4,096 bytes.
    pub key: Bytes,
    /// The revision that was read; `None`: there was no entry.
    pub expected: Option<u64>,
    /// What is written. `None`: the entry is removed, and leaves no trace.
    pub value: Option<Bytes>,
}

/// What became of a [`DirectoryWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on disk, with this revision.
    Done(u64),
    /// The entry is not as expected; nothing of it was written.
    Conflict,
}

/// How much of a source's log is kept. What is still owed is kept all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// Entries accepted before may go.
    pub before: Millis,
    /// Beyond so many bytes, about, the oldest may go; `None`: no limit.
    pub bytes: Option<u64>,
}

/// What a step of removing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Log entries.
    pub events: u64,
    /// Their actions.
    pub actions: u64,
    /// There is more to remove now.
    pub more: bool,
}

/// How much waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Lanes with at least one action; counted up to 100,000.
    pub lanes: u64,
    /// Acceptance of the event of the head that has been ready or delayed longest, about.
    pub oldest: Option<Millis>,
}

/// What the planner made of one event.
#[derive(Clone, Debug)]
pub struct PlannedEvent {
    /// The event; planned in log order.
    pub event: EventId,
    /// The configuration's generation it was planned with.
    pub generation: i64,
    /// Why mappings made no action; subject and message.
    pub notes: Vec<(String, String)>,
    /// In the order in which they run.
    pub actions: Vec<NewAction>,
}

/// One action to be delivered, or the reason why it cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// The mapping's name.
    pub mapping: String,
    /// Knock's snake_case name.
    pub action_type: &'static str,
    /// Name of a destination of the event's source.
    pub destination: String,
    /// What consumers get, or why there is nothing to give: such an action is listed with the dead
    /// letters at once.
    pub rendered: Result<Bytes, Reason>,
}

/// Why an action failed or died: a bounded code for metrics, and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// snake_case, from a fixed set, such as `missing_field`, `rejected`.
    pub code: String,
    /// Names the field it is about.
    pub message: String,
}

/// Names one lease of one action: its source's hash, and 16 random bytes. A store looks up all of
/// it, so that a token settles nothing of another source than the one it says.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub [u8; 24]);

impl LeaseToken {
    /// Of a lease on an action of this source.
    #[must_use]
    pub fn new(source: SourceHash, random: [u8; 16]) -> Self {
        let mut token = [0; 24];
        token[..8].copy_from_slice(&source.0);
        token[8..].copy_from_slice(&random);
        Self(token)
    }

    /// Whose action is leased.
    #[must_use]
    pub fn source(self) -> SourceHash {
        let mut hash = [0; 8];
        hash.copy_from_slice(&self.0[..8]);
        SourceHash(hash)
    }
}

impl std::fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseToken(redacted)")
    }
}

/// An action given to a consumer.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Settles it.
    pub token: LeaseToken,
    /// When the lease ends by itself.
    pub expires: Millis,
    /// 1 for the first lease.
    pub attempt: u32,
    /// When the first attempt began, since it was planned or revived; `None`: this is it.
    pub first_attempt: Option<Millis>,
    /// The action.
    pub action: ActionId,
    /// What to do.
    pub record: Action,
}

/// The part of an action that never changes once it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The mapping that made it.
    pub mapping: String,
    /// Knock's snake_case name.
    pub action_type: String,
    /// The destination's name.
    pub destination: String,
    /// The event's type and timestamp, so that a delivery needs no second look-up.
    pub event_type: String,
    /// As sent, or empty.
    pub event_timestamp: String,
    /// The rendered bytes; `None` when rendering failed.
    pub payload: Option<Bytes>,
}

/// The answer to a take.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// At most as many as asked for, each from another lane; fewer when they are large.
    pub leases: Vec<Leased>,
    /// When a lane that is waiting out a delay may be taken next, if there is one.
    pub next_due: Option<Millis>,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done; the lane goes on.
    Ack {
        /// What the destination said, for the log; or empty.
        answer: String,
    },
    /// The action stays at the head of its lane, which waits this long.
    Retry {
        /// From now.
        delay: Duration,
        /// For the log.
        reason: Reason,
    },
    /// As [`Settlement::Retry`], but nothing was attempted: nothing is counted or logged.
    Defer {
        /// From now.
        delay: Duration,
    },
    /// A dead letter; the lane goes on.
    Reject {
        /// For the log.
        reason: Reason,
    },
    /// The lease lasts this long from now.
    Extend(Duration),
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is on disk.
    Done,
    /// The lease now ends then.
    Extended(Millis),
    /// The token names no open lease; nothing was changed.
    LeaseLost,
}

/// Where an action stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionStatus {
    /// Which action.
    pub id: ActionId,
    /// What it is.
    pub action: Action,
    /// Where it stands.
    pub state: ActionState,
    /// Leases that ended, and the open one.
    pub attempts: u32,
    /// Of the last failed attempt, of the failure or of the death.
    pub reason: Option<Reason>,
    /// The attempts that ended, oldest first: at most [`MAX_HISTORY`], the first and the last ones.
    pub history: Vec<Attempt>,
    /// What the destination said when it was delivered; or empty.
    pub answer: String,
}

/// Attempts kept of one action.
pub const MAX_HISTORY: usize = 10;

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When its lease began.
    pub started: Millis,
    /// When it was settled, or lost.
    pub ended: Millis,
    /// `None`: it succeeded.
    pub failure: Option<Reason>,
}

/// The states of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionState {
    /// Waits for its turn, not before `not_before` when its lane waits out a delay for it.
    Pending {
        /// Set for a delayed head of a lane.
        not_before: Option<Millis>,
    },
    /// A consumer has it.
    Leased,
    /// Acked.
    Delivered,
    /// Could not be rendered.
    Failed,
    /// Rejected.
    Dead,
}

/// One log entry with everything that happened to it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its id.
    pub id: EventId,
    /// The source's name.
    pub source: SourceId,
    /// The event. A duplicate keeps its description but not its body and headers.
    pub event: Event,
    /// Set when it repeats another event.
    pub duplicate_of: Option<EventId>,
    /// Set once it is planned.
    pub planned: Option<Planned>,
    /// In planned order.
    pub actions: Vec<ActionStatus>,
}

/// What planning left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// The configuration's generation.
    pub generation: i64,
    /// Subject and message.
    pub notes: Vec<(String, String)>,
    /// By their runs, what replays left behind, oldest first; these have none of their own.
    pub replays: Vec<(u16, Planned)>,
}

/// Which part of a source's log to read, and in which direction.
#[derive(Clone, Debug)]
pub struct LogRange {
    /// Whose log.
    pub source: SourceId,
    /// Newest first down from (and without) this entry; `None`: from the newest.
    pub before: Option<EventId>,
    /// Accepted at or after.
    pub since: Option<Millis>,
    /// Accepted before.
    pub until: Option<Millis>,
}

/// Why the store did not do what it was asked. In every case asking again later is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Free space is below the reserve; reading goes on.
    #[error("the store is full: {free} bytes free, {reserve} are kept in reserve; free disk space")]
    Full {
        /// Bytes free now.
        free: u64,
        /// Bytes kept.
        reserve: u64,
    },
    /// The engine failed; the store reopens it by itself.
    #[error("the store cannot be written to now: {0}")]
    Unavailable(String),
    /// The process is shutting down.
    #[error("the store is closing")]
    Closing,
}

impl StoreError {
    /// In capitals, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "STORE_FULL",
            Self::Unavailable(_) => "STORE_UNAVAILABLE",
            Self::Closing => "DRAINING",
        }
    }
}

/// Names the queue an action waits in.
pub type Queue = DestinationId;

#[cfg(test)]
mod tests {
    use super::Hold;

    #[test]
    fn a_hold_with_a_time_ends_by_itself() {
        let hold = |until| Hold { since: 0, until, refused: false, reason: String::new() };
        assert!(!hold(None).is_over(u64::MAX));
        assert!(!hold(Some(10)).is_over(9));
        assert!(hold(Some(10)).is_over(10));
    }
}
