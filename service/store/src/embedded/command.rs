//! What callers ask of the writer, and how each gets its answer.

use segment_source_core::{event::EventId, source::SourceHash};
use tokio::sync::oneshot;

use super::{
    accept, expire,
    keys::QueueKey,
    plan, retain,
    take::{Granted, Wanted},
};
use crate::{
    contract::{
        Accepted, DirectoryWrite, Ending, Hold, LeaseToken, Reason, Removed, ReplayId, Revival,
        Settled, Settlement, StoreError, Written,
    },
    holds::Place,
};

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Command {
    Accept {
        events: Vec<accept::Prepared>,
        answer: Answer<Vec<Accepted>>,
    },
    Plan {
        events: Vec<plan::Prepared>,
        answer: Answer<()>,
    },
    /// Moves a cursor over entries that need no plan.
    Advance {
        to: EventId,
        answer: Answer<()>,
    },
    Settle {
        settlements: Vec<(LeaseToken, Settlement)>,
        answer: Answer<Vec<Settled>>,
    },
    Take {
        wanted: Wanted,
        answer: Answer<Granted>,
    },
    Revive {
        actions: Vec<Revival>,
        answer: Answer<Vec<bool>>,
    },
    Replay {
        replay: ReplayId,
        /// `None`: not in the log.
        events: Vec<Option<plan::Prepared>>,
        answer: Answer<Vec<Option<u16>>>,
    },
    Hold {
        queue: QueueKey,
        hold: Hold,
        place: Place,
        answer: Answer<bool>,
    },
    EndHold {
        queue: QueueKey,
        which: Ending,
        answer: Answer<Option<Hold>>,
    },
    Expire {
        queue: QueueKey,
        places: Vec<expire::Place>,
        reason: Reason,
        answer: Answer<u64>,
    },
    WriteDirectory {
        source: SourceHash,
        writes: Vec<DirectoryWrite>,
        answer: Answer<Vec<Written>>,
    },
    Remove {
        found: retain::Found,
        /// [`super::shared::Shared::reopened`] from before it was found.
        reopened: u64,
        /// With `None` nothing was removed, and it is to be looked for again.
        answer: Answer<Option<(Removed, retain::Found)>>,
    },
    /// These are empty and stay so.
    DropDays {
        days: Vec<u64>,
        answer: Answer<()>,
    },
    Erase {
        events: Vec<EventId>,
        answer: Answer<Removed>,
    },
    /// Look at [`Shared::released`].
    Released,
    /// Finish; nothing sent later is read.
    Close,
}

impl Command {
    /// Roughly what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Accept { events, .. } => events.iter().map(accept::Prepared::bytes).sum(),
            Self::Plan { events, .. } => events.iter().map(plan::Prepared::bytes).sum(),
            Self::Replay { events, .. } => events.iter().flatten().map(plan::Prepared::bytes).sum(),
            Self::WriteDirectory { writes, .. } => {
                let values = writes.iter().filter_map(|write| write.value.as_ref());
                values.map(bytes::Bytes::len).sum()
            }
            _ => 0,
        }
    }

    pub(super) fn refuse(self, why: StoreError) {
        match self {
            Self::Accept { answer, .. } => tell(answer, why),
            Self::Plan { answer, .. }
            | Self::Advance { answer, .. }
            | Self::DropDays { answer, .. } => tell(answer, why),
            Self::Settle { answer, .. } => tell(answer, why),
            Self::Take { answer, .. } => tell(answer, why),
            Self::Revive { answer, .. } => tell(answer, why),
            Self::Replay { answer, .. } => tell(answer, why),
            Self::Hold { answer, .. } => tell(answer, why),
            Self::EndHold { answer, .. } => tell(answer, why),
            Self::Expire { answer, .. } => tell(answer, why),
            Self::WriteDirectory { answer, .. } => tell(answer, why),
            Self::Remove { answer, .. } => tell(answer, why),
            Self::Erase { answer, .. } => tell(answer, why),
            Self::Released | Self::Close => {}
        }
    }
}

fn tell<T>(answer: Answer<T>, why: StoreError) {
    // Nobody listens any more: then nobody needs the answer.
    let _ = answer.send(Err(why));
}
