//! Waiting for ingest: a request is handed to the link in parts and answered when the last part
//! is durable, the deadline has passed, or the process ends.

use std::{
    ops::Range,
    sync::{Arc, Weak},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{Reply, posted::Posted};

/// Parts of requests that may wait. More than the largest request has: 10,000 events with the
/// largest head are less than 2,000 parts.
pub(crate) const QUEUE: usize = 4_096;

/// Part of a request, waiting for its turn or its answer. It does not keep the request alive: when
/// nobody waits for the answer any more, it is skipped.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) posted: Weak<Posted>,
    pub(crate) elements: Range<usize>,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Tally, Reply>>,
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
}

/// Hands requests to the link.
#[derive(Clone, Debug)]
pub(crate) struct Submitter {
    queue: mpsc::Sender<Chunk>,
}

impl Submitter {
    /// The submitter, and the link's end of its queue.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Chunk>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, waiting)
    }

    /// Submits every event of the request, in order, and waits until all are durable.
    pub(crate) async fn submit(&self, posted: Posted, deadline: Instant) -> Result<Tally, Reply> {
        let parts = posted.parts();
        // All or nothing, so that a request is not stored in part because of a full queue; and
        // side by side, so that its events stay in order.
        let slots = self.queue.try_reserve_many(parts.len()).map_err(|full| match full {
            mpsc::error::TrySendError::Full(()) => Reply::QueueFull,
            mpsc::error::TrySendError::Closed(()) => Reply::Draining,
        })?;
        let posted = Arc::new(posted);
        let mut answers = Vec::with_capacity(parts.len());
        for (slot, part) in slots.zip(parts) {
            let (answer, answered) = oneshot::channel();
            let posted = Arc::downgrade(&posted);
            slot.send(Chunk { posted, elements: part.elements, bytes: part.bytes, answer });
            answers.push(answered);
        }
        let mut total = Tally::default();
        for answered in answers {
            let answer = timeout_at(deadline, answered).await;
            let tally = answer
                .map_err(|_too_late| Reply::IngestUnreachable)?
                .map_err(|_link_ended| Reply::Draining)??;
            total.accepted += tally.accepted;
            total.duplicate += tally.duplicate;
        }
        drop(posted);
        Ok(total)
    }
}
