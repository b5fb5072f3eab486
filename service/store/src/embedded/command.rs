//! What callers ask of the writer, and how each gets its answer.

use segment_source_core::event::EventId;
use tokio::sync::oneshot;

use super::{
    accept, plan,
    take::{Granted, Wanted},
};
use crate::contract::{Accepted, LeaseToken, Settled, Settlement, StoreError};

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
            _ => 0,
        }
    }

    pub(super) fn refuse(self, why: StoreError) {
        // Nobody listens any more: then nobody needs the answer.
        let _ = match self {
            Self::Accept { answer, .. } => answer.send(Err(why)).map_err(drop),
            Self::Plan { answer, .. } | Self::Advance { answer, .. } => {
                answer.send(Err(why)).map_err(drop)
            }
            Self::Settle { answer, .. } => answer.send(Err(why)).map_err(drop),
            Self::Take { answer, .. } => answer.send(Err(why)).map_err(drop),
            Self::Released | Self::Close => Ok(()),
        };
    }
}
