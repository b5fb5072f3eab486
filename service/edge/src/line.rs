//! Where parts of requests wait for a link, and links for parts of requests.
//!
//! Links take from the line when they have room for a batch, so that no ingest gets more than it
//! answers, and what one did not answer is in the line again for all others. Among links that wait,
//! the one with the fewest unanswered batches has the next turn; among equals, the one that has
//! waited longest; those to an ingest that was stuck come last.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    Reply,
    posted::{BATCH_BYTES, BATCH_EVENTS},
    submit::Chunk,
};

/// Parts of requests that may wait. More than the largest request has: 10,000 events with the
/// largest head are less than 2,000 parts.
pub(crate) const ROOM: usize = 4_096;

/// The line that all requests and all links share.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Chunk>,
    takers: BTreeMap<Place, Waker>,
    /// How often somebody began to wait to take.
    tickets: u64,
    /// Of each link, when its newest batch that was answered had been sent.
    answered: BTreeMap<usize, Instant>,
}

/// Whose turn it is: of the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// Its ingest was stuck and has not answered since.
    pub(crate) doubted: bool,
    /// Its unanswered batches.
    pub(crate) unanswered: usize,
}

/// Who takes next: the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    turn: Turn,
    ticket: u64,
}

impl Line {
    /// Lets all parts of a request wait, side by side, or none of them.
    ///
    /// # Errors
    /// [`Reply::QueueFull`] when there is no room.
    pub(crate) fn join(&self, chunks: Vec<Chunk>) -> Result<(), Reply> {
        let mut state = self.lock();
        if state.waiting.len() + chunks.len() > ROOM {
            // While no ingest is there nobody takes out those that were given up.
            state.waiting.retain(Chunk::is_awaited);
        }
        if state.waiting.len() + chunks.len() > ROOM {
            return Err(Reply::QueueFull);
        }
        state.waiting.extend(chunks);
        state.wake_next();
        Ok(())
    }

    /// Lets parts wait that were in the line before, ahead of all others, in their order.
    pub(crate) fn come_back(&self, chunks: impl DoubleEndedIterator<Item = Chunk>) {
        let mut state = self.lock();
        for chunk in chunks.rev() {
            state.waiting.push_front(chunk);
        }
        state.wake_next();
    }

    /// Waits for the next batch, and for all further parts of a request of which it has only the
    /// first ones: those of one request go one way, so that its events stay in order. Cancel-safe.
    pub(crate) fn take(&self, turn: Turn) -> Take<'_> {
        Take { line: self, turn, place: None }
    }

    /// A link's batch was answered.
    pub(crate) fn answered(&self, link: usize, sent: Instant) {
        let mut state = self.lock();
        let newest = state.answered.entry(link).or_insert(sent);
        *newest = sent.max(*newest);
    }

    /// Whether another link had an answer to what was sent after this.
    pub(crate) fn is_overtaken(&self, link: usize, sent: Instant) -> bool {
        self.lock().answered.iter().any(|(other, newest)| *other != link && *newest > sent)
    }

    /// A link is no more.
    pub(crate) fn forget(&self, link: usize) {
        self.lock().answered.remove(&link);
    }

    /// Nothing in here panics half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_next(&mut self) {
        if !self.waiting.is_empty()
            && let Some((_, taker)) = self.takers.pop_first()
        {
            taker.wake();
        }
    }

    /// A batch, then what else there is of its last request.
    fn next(&mut self) -> VecDeque<Chunk> {
        let mut taken = batch(&mut self.waiting);
        while let (Some(last), Some(next)) = (taken.back(), self.waiting.front())
            && last.posted.ptr_eq(&next.posted)
        {
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}

/// Takes from the front as much as fits into a batch, of those that somebody waits for.
pub(crate) fn batch(waiting: &mut VecDeque<Chunk>) -> VecDeque<Chunk> {
    let (mut chunks, mut events, mut bytes) = (VecDeque::new(), 0, 0);
    while let Some(chunk) = waiting.pop_front() {
        if !chunk.is_awaited() {
            continue;
        }
        events += chunk.elements.len();
        bytes += chunk.bytes;
        if !chunks.is_empty() && (events > BATCH_EVENTS || bytes > BATCH_BYTES) {
            waiting.push_front(chunk);
            break;
        }
        chunks.push_back(chunk);
    }
    chunks
}

/// Waiting for a batch; see [`Line::take`].
#[derive(Debug)]
pub(crate) struct Take<'a> {
    line: &'a Line,
    turn: Turn,
    /// Once it waits.
    place: Option<Place>,
}

impl Future for Take<'_> {
    type Output = VecDeque<Chunk>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<VecDeque<Chunk>> {
        let line = self.line;
        let mut state = line.lock();
        let taken = state.next();
        if !taken.is_empty() {
            if let Some(place) = self.place.take() {
                state.takers.remove(&place);
            }
            // There may be more than one batch, and only one taker was woken.
            state.wake_next();
            return Poll::Ready(taken);
        }
        let turn = self.turn;
        let place = *self.place.get_or_insert_with(|| {
            state.tickets += 1;
            Place { turn, ticket: state.tickets }
        });
        state.takers.insert(place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = self.line.lock();
        if state.takers.remove(&place).is_none() {
            // It was woken and takes nothing: the turn is somebody else's.
            state.wake_next();
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
