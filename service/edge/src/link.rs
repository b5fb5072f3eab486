//! The one stream to ingest.
//!
//! Batches form by themselves: while as many batches are on their way as may be, requests wait;
//! when one is answered, whatever waits by then becomes the next. When the stream breaks, what was
//! not answered is sent again on a new one with the same receipts, as long as somebody waits for
//! it; ingest knows receipts, so nothing is stored twice.

use std::{collections::VecDeque, time::Duration};

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
use tonic::transport::Channel;

use crate::{
    Reply,
    metrics::Metrics,
    posted::{BATCH_BYTES, BATCH_EVENTS},
    submit::{Chunk, Tally},
};

/// Pauses between attempts to open the stream.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Owns the stream and everything that waits for it.
pub(crate) struct Link {
    client: IngestClient<Channel>,
    queue: mpsc::Receiver<Chunk>,
    batches_in_flight: usize,
    /// A batch unanswered for so long has nobody left who waits for it: the stream is stuck.
    patience: Duration,
    waiting: VecDeque<Chunk>,
    unanswered: VecDeque<Batch>,
    last_sequence: u64,
    /// Batches answered so far, on all streams.
    answered: u64,
    metrics: Metrics,
}

struct Batch {
    sequence: u64,
    chunks: Vec<Chunk>,
    sent: Instant,
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
        channel: Channel,
        queue: mpsc::Receiver<Chunk>,
        batches_in_flight: usize,
        patience: Duration,
        metrics: Metrics,
    ) -> Self {
        Self {
            client: IngestClient::new(channel),
            queue,
            batches_in_flight: batches_in_flight.max(1),
            patience,
            waiting: VecDeque::new(),
            unanswered: VecDeque::new(),
            last_sequence: 0,
            answered: 0,
            metrics,
        }
    }

    /// Keeps a stream open until nobody can submit any more.
    pub(crate) async fn run(mut self) {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let answered_before = self.answered;
            let Err(broken) = self.stream().await else { return };
            if self.answered > answered_before {
                pause = pauses.build();
            }
            self.metrics.stream_broke();
            tracing::warn!(reason = %broken, "the stream to ingest is opened again");
            sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// One stream, from opening it to its end. Ends well only when nobody can submit any more.
    async fn stream(&mut self) -> Result<(), Broken> {
        // Holds every batch that may be unanswered, so sending into it never waits.
        let (requests, outgoing) = mpsc::channel(self.batches_in_flight);
        let again = std::mem::take(&mut self.unanswered);
        for batch in again {
            self.send(batch.chunks, &requests)?;
        }
        let opened = self.client.submit_stream(ReceiverStream::new(outgoing));
        let mut answers = timeout(self.patience, opened)
            .await
            .map_err(|_elapsed| Broken::Stuck(self.patience))?
            .map_err(Broken::NotOpened)?
            .into_inner();
        let mut arrived = Vec::with_capacity(BATCH_EVENTS);
        loop {
            while self.unanswered.len() < self.batches_in_flight && !self.waiting.is_empty() {
                let chunks = self.next_batch();
                self.send(chunks, &requests)?;
            }
            let stuck = self.unanswered.front().map(|batch| batch.sent + self.patience);
            let has_room = self.unanswered.len() < self.batches_in_flight;
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.settle(answer)?,
                    Ok(None) => return Err(Broken::Ended),
                    Err(status) => return Err(Broken::Failed(status)),
                },
                // Only with room for a batch: what arrives meanwhile makes the next one larger.
                count = self.queue.recv_many(&mut arrived, BATCH_EVENTS), if has_room => {
                    if count == 0 && self.unanswered.is_empty() {
                        return Ok(());
                    }
                    self.waiting.extend(arrived.drain(..));
                }
                () = sleep_until(stuck.unwrap_or_else(Instant::now)), if stuck.is_some() => {
                    return Err(Broken::Stuck(self.patience));
                }
            }
        }
    }

    /// Takes from those who wait as much as fits into a batch.
    fn next_batch(&mut self) -> Vec<Chunk> {
        let (mut chunks, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(chunk) = self.waiting.pop_front() {
            if chunk.posted.strong_count() == 0 {
                continue;
            }
            events += chunk.elements.len();
            bytes += chunk.bytes;
            if !chunks.is_empty() && (events > BATCH_EVENTS || bytes > BATCH_BYTES) {
                self.waiting.push_front(chunk);
                break;
            }
            chunks.push(chunk);
        }
        chunks
    }

    /// Sends those chunks that somebody still waits for.
    fn send(
        &mut self,
        mut chunks: Vec<Chunk>,
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
        // Unanswered before it is sent: when sending fails it is sent again on the next stream.
        self.unanswered.push_back(Batch { sequence, chunks, sent: Instant::now() });
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
                // Stays unanswered: the next stream may lead to an ingest that stays.
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
        let batch = self.unanswered.remove(position);
        batch.into_iter().flat_map(|batch| batch.chunks).for_each(tell);
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
