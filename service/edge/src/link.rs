//! The stream to one ingest.
//!
//! Batches form by themselves: while as many batches are on their way as may be, requests wait in
//! the line; when one is answered, whatever waits by then becomes the next. When the stream breaks,
//! what was not answered goes back into the line, and whichever link comes first sends it again
//! with the same receipts; all ingests know receipts, so nothing is stored twice.

use std::{collections::VecDeque, fmt::Display, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use segment_source_proto::ingest::v1::{
    SubmitFailure, SubmitResult, SubmitStreamRequest, SubmitStreamResponse,
    ingest_client::IngestClient, submit_failure::Reason, submit_result::Outcome,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    Reply,
    line::{Line, Turn, batch},
    metrics::{LinkMetrics, Metrics},
    submit::{Chunk, Tally},
};

/// Pauses between attempts to open the stream.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What holds for every link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Batches that may be unanswered at a time.
    pub(crate) batches_in_flight: usize,
    /// A batch unanswered for so long has nobody left who waits for it: the stream is stuck.
    pub(crate) patience: Duration,
}

impl Bounds {
    /// A batch unanswered for so long, while other ingests answer, is better off with them, and
    /// there still is time for it.
    fn impatience(self) -> Duration {
        self.patience / 4
    }

    /// For so long an ingest that was stuck comes after all others, unless it answers.
    fn probation(self) -> Duration {
        4 * self.patience
    }

    /// How long after a batch was sent there is something to be seen.
    fn look_after(self, was_moved: bool) -> Duration {
        if was_moved { self.patience } else { self.impatience() }
    }
}

/// Owns the stream and what it has taken from the line.
pub(crate) struct Link {
    /// Among the links there are now.
    number: usize,
    /// The ingest, for people.
    name: String,
    client: IngestClient<Channel>,
    line: Arc<Line>,
    /// The ingest is to get nothing new.
    leaving: CancellationToken,
    bounds: Bounds,
    /// Taken from the line and not sent yet: requests of which a part was sent here.
    begun: VecDeque<Chunk>,
    unanswered: VecDeque<Batch>,
    last_sequence: u64,
    /// The ingest was stuck and has not answered since: it comes after all others until then.
    doubted: Option<Instant>,
    /// Batches answered so far, on all streams.
    answered: u64,
    metrics: Metrics,
    own_metrics: LinkMetrics,
}

struct Batch {
    sequence: u64,
    chunks: VecDeque<Chunk>,
    sent: Instant,
    /// When to see, once it is the oldest, whether it waits for too long.
    look: Instant,
    /// A slow ingest has cost a part of it a stream before: it is not moved about a second time.
    was_moved: bool,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("ingest could not be reached: {}", cause(.0))]
    NotOpened(tonic::Status),
    #[error("the stream to ingest broke: {}", cause(.0))]
    Failed(tonic::Status),
    #[error("ingest ended the stream")]
    Ended,
    #[error("ingest is shutting down")]
    Draining,
    #[error("ingest did not answer in {0:?}")]
    Stuck(Duration),
    #[error("ingest did not answer in {0:?}, and others do")]
    Overtaken(Duration),
    #[error("ingest answered {0} of {1} events")]
    WrongAnswer(usize, usize),
}

/// The innermost reason of a failed call. A status itself prints the whole chain as its types.
fn cause(status: &tonic::Status) -> String {
    let mut next = std::error::Error::source(status);
    let mut text = match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    };
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

impl Link {
    pub(crate) fn new(
        number: usize,
        name: impl Display,
        channel: Channel,
        line: Arc<Line>,
        leaving: CancellationToken,
        bounds: Bounds,
        metrics: Metrics,
    ) -> Self {
        let own_metrics = metrics.link(number);
        Self {
            number,
            name: name.to_string(),
            client: IngestClient::new(channel),
            line,
            leaving,
            bounds,
            begun: VecDeque::new(),
            unanswered: VecDeque::new(),
            last_sequence: 0,
            doubted: None,
            answered: 0,
            metrics,
            own_metrics,
        }
    }

    /// Keeps a stream open until the ingest is to get nothing new, and has answered what it got.
    pub(crate) async fn run(mut self) {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        let leaving = self.leaving.clone();
        loop {
            let answered_before = self.answered;
            let Err(broken) = self.stream().await else { break };
            self.give_back(matches!(broken, Broken::Overtaken(_)));
            if matches!(broken, Broken::Overtaken(_) | Broken::Stuck(_)) {
                self.doubted = Some(Instant::now() + self.bounds.probation());
            }
            if self.answered > answered_before {
                pause = pauses.build();
            }
            self.metrics.stream_broke();
            tracing::warn!(ingest = self.name, reason = %broken, "the stream to ingest ended");
            tokio::select! {
                () = sleep(pause.next().unwrap_or(LONGEST_PAUSE)) => {}
                () = leaving.cancelled() => break,
            }
        }
        self.line.forget(self.number);
    }

    /// What this ingest did not answer waits again, for whichever comes first.
    fn give_back(&mut self, moved: bool) {
        let unanswered = self.unanswered.drain(..).flat_map(|batch| batch.chunks);
        let mut chunks: Vec<Chunk> = unanswered.filter(Chunk::is_awaited).collect();
        for chunk in &mut chunks {
            chunk.moved |= moved;
        }
        self.metrics.resubmitted(chunks.iter().map(|chunk| chunk.elements.len()).sum());
        self.line.come_back(chunks.into_iter().chain(self.begun.drain(..)));
        self.own_metrics.unanswered(0);
    }

    /// One stream, from opening it to its end. Ends well only when the ingest is to get nothing new.
    async fn stream(&mut self) -> Result<(), Broken> {
        // Holds every batch that may be unanswered, so sending into it never waits.
        let (requests, outgoing) = mpsc::channel(self.bounds.batches_in_flight);
        let (leaving, line) = (self.leaving.clone(), Arc::clone(&self.line));
        let opening =
            timeout(self.bounds.patience, self.client.submit_stream(ReceiverStream::new(outgoing)));
        let opened = tokio::select! {
            opened = opening => opened,
            () = leaving.cancelled() => return Ok(()),
        };
        let mut answers = opened
            .map_err(|_elapsed| Broken::Stuck(self.bounds.patience))?
            .map_err(Broken::NotOpened)?
            .into_inner();
        loop {
            while self.has_room() && !self.begun.is_empty() {
                let chunks = batch(&mut self.begun);
                self.send(chunks, &requests)?;
            }
            let stays = !leaving.is_cancelled();
            if !stays && self.unanswered.is_empty() {
                return Ok(());
            }
            let turn = Turn { doubted: self.is_doubted(), unanswered: self.unanswered.len() };
            let look = self.unanswered.front().map(|oldest| oldest.look);
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.settle(answer)?,
                    Ok(None) => return Err(Broken::Ended),
                    Err(status) => return Err(Broken::Failed(status)),
                },
                () = leaving.cancelled(), if stays => {}
                // Only with room for a batch: what arrives meanwhile makes the next one larger.
                taken = line.take(turn), if stays && self.has_room() => {
                    self.begun = taken;
                }
                () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => self.look()?,
                () = sleep_until(self.doubted.unwrap_or_else(Instant::now)), if turn.doubted => {}
            }
        }
    }

    fn is_doubted(&self) -> bool {
        self.doubted.is_some_and(|until| Instant::now() < until)
    }

    fn has_room(&self) -> bool {
        self.unanswered.len() < self.bounds.batches_in_flight
    }

    /// Gives up the stream when its oldest batch has waited for too long.
    fn look(&mut self) -> Result<(), Broken> {
        let Some(oldest) = self.unanswered.front_mut() else { return Ok(()) };
        let given_up = oldest.sent + self.bounds.patience;
        if Instant::now() >= given_up {
            return Err(Broken::Stuck(self.bounds.patience));
        }
        if !oldest.was_moved && self.line.is_overtaken(self.number, oldest.sent) {
            return Err(Broken::Overtaken(self.bounds.impatience()));
        }
        // The others may answer only later.
        oldest.look = given_up.min(Instant::now() + self.bounds.impatience() / 8);
        Ok(())
    }

    /// Sends those chunks that somebody still waits for.
    fn send(
        &mut self,
        mut chunks: VecDeque<Chunk>,
        requests: &mpsc::Sender<SubmitStreamRequest>,
    ) -> Result<(), Broken> {
        let mut submissions = Vec::new();
        chunks.retain(|chunk| match chunk.posted.upgrade() {
            Some(posted) => {
                submissions.extend(posted.submissions(chunk.elements.clone()));
                true
            }
            None => false,
        });
        if chunks.is_empty() {
            return Ok(());
        }
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        self.metrics.batch(submissions.len());
        self.own_metrics.batch();
        // Unanswered before it is sent: when sending fails it is sent again on another stream.
        let (sent, was_moved) = (Instant::now(), chunks.iter().any(|chunk| chunk.moved));
        let look = sent + self.bounds.look_after(was_moved);
        self.unanswered.push_back(Batch { sequence, chunks, sent, look, was_moved });
        self.own_metrics.unanswered(self.unanswered.len());
        requests
            .try_send(SubmitStreamRequest { sequence, submissions })
            .map_err(|_the_stream_is_gone| Broken::Ended)
    }

    /// Passes an answer on to those who wait for it.
    fn settle(&mut self, answer: SubmitStreamResponse) -> Result<(), Broken> {
        let Some(position) = self.unanswered.iter().position(|b| b.sequence == answer.sequence)
        else {
            tracing::warn!(sequence = answer.sequence, "ingest answered what was not asked");
            return Ok(());
        };
        if let Some(failure) = &answer.failure {
            if failure.reason() == Reason::Draining {
                // Stays unanswered, as all behind it: what came before was answered by now.
                return Err(Broken::Draining);
            }
            let reply = failed(failure);
            self.answer(position, |chunk| {
                // Nobody to tell when the request is gone.
                let _ = chunk.answer.send(Err(reply));
            });
            return Ok(());
        }
        let events = self.unanswered[position].chunks.iter().map(|c| c.elements.len()).sum();
        if answer.results.len() != events {
            return Err(Broken::WrongAnswer(answer.results.len(), events));
        }
        let mut results = answer.results.as_slice();
        self.answer(position, |chunk| {
            let (of_chunk, rest) = results.split_at(chunk.elements.len());
            results = rest;
            let _ = chunk.answer.send(of_chunk.iter().try_fold(Tally::default(), count));
        });
        Ok(())
    }

    fn answer(&mut self, position: usize, tell: impl FnMut(Chunk)) {
        self.answered += 1;
        self.doubted = None;
        let Some(batch) = self.unanswered.remove(position) else { return };
        self.own_metrics.unanswered(self.unanswered.len());
        self.line.answered(self.number, batch.sent);
        batch.chunks.into_iter().for_each(tell);
    }
}

/// Counts one event's result.
fn count(sum: Tally, result: &SubmitResult) -> Result<Tally, Reply> {
    match result.outcome() {
        Outcome::Accepted => Ok(Tally { accepted: sum.accepted + 1, ..sum }),
        Outcome::Duplicate => Ok(Tally { duplicate: sum.duplicate + 1, ..sum }),
        Outcome::UnknownSource => Err(Reply::IngestUnknownSource),
        // An outcome of a later version: nothing is known to be stored.
        Outcome::Unspecified => Err(Reply::StoreUnavailable),
    }
}

fn failed(failure: &SubmitFailure) -> Reply {
    match failure.reason() {
        Reason::Full => Reply::StoreFull,
        Reason::Invalid | Reason::PermissionDenied => {
            tracing::error!(message = failure.message, "ingest refused a batch");
            Reply::StoreUnavailable
        }
        Reason::Unavailable | Reason::Draining | Reason::Unspecified => {
            tracing::warn!(message = failure.message, "ingest could not store a batch");
            Reply::StoreUnavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::Broken;

    #[test]
    fn a_broken_stream_is_told_by_its_innermost_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let broken = Broken::NotOpened(Status::from_error(Box::new(refused)));
        assert_eq!(broken.to_string(), "ingest could not be reached: connection refused");
        let broken = Broken::Failed(Status::unavailable("the store is gone"));
        assert_eq!(broken.to_string(), "the stream to ingest broke: the store is gone");
        let broken = Broken::Failed(Status::new(Code::Cancelled, ""));
        assert_eq!(broken.to_string(), format!("the stream to ingest broke: {}", Code::Cancelled));
    }
}
