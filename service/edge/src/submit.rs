//! Waiting for ingest: a request stands in the line in parts and is answered when the last part
//! is durable, the deadline has passed, or the process ends.

use std::{
    ops::Range,
    sync::{Arc, Weak},
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{Reply, line::Line, posted::Posted};

/// Part of a request, waiting for its turn or its answer. It does not keep the request alive: when
/// nobody waits for the answer any more, it is skipped.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) posted: Weak<Posted>,
    pub(crate) elements: Range<usize>,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Tally, Reply>>,
    /// An ingest was slow with it, and it was taken to another one.
    pub(crate) moved: bool,
}

impl Chunk {
    /// Whether somebody waits for its answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.posted.strong_count() > 0
    }
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
}

/// Hands requests to the links.
#[derive(Clone, Debug)]
pub(crate) struct Submitter(Arc<Line>);

impl Submitter {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self(line)
    }

    /// Submits every event of the request, in order, and waits until all are durable.
    pub(crate) async fn submit(&self, posted: Posted, deadline: Instant) -> Result<Tally, Reply> {
        let posted = Arc::new(posted);
        let (mut chunks, mut answers) = (Vec::new(), Vec::new());
        for part in posted.parts() {
            let (answer, answered) = oneshot::channel();
            let (elements, bytes) = (part.elements, part.bytes);
            let posted = Arc::downgrade(&posted);
            chunks.push(Chunk { posted, elements, bytes, answer, moved: false });
            answers.push(answered);
        }
        // All or nothing, so that a request is not stored in part because the line is full.
        self.0.join(chunks)?;
        let mut total = Tally::default();
        for answered in answers {
            let answer = timeout_at(deadline, answered).await;
            let tally = answer
                .map_err(|_too_late| Reply::IngestUnreachable)?
                .map_err(|_links_ended| Reply::Draining)??;
            total.accepted += tally.accepted;
            total.duplicate += tally.duplicate;
        }
        drop(posted);
        Ok(total)
    }
}
