//! One submit stream. The whole of it is a response stream that is polled by the connection: there
//! is no task of its own, a client that does not read its answers submits nothing more, and a
//! client that is gone takes everything along.
//!
//! Order: a batch gets its place in the store's order at the first poll of its accept call, which
//! happens before the next batch is looked at. After that, up to [`IN_FLIGHT`] batches wait for
//! their commits together, and are answered as those come.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{FuturesUnordered, unfold},
};
use segment_source_proto::ingest::v1::{
    SubmitStreamRequest, SubmitStreamResponse, submit_failure::Reason,
};
use segment_source_rpc::Permit;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::{
    Context, answer,
    batch::{Batch, Checked},
};

/// So many batches of one stream may wait for their commits.
const IN_FLIGHT: usize = 16;

/// Batches with more bytes than this are described on a blocking thread, so that this connection's
/// task keeps answering.
pub(super) const DESCRIBED_INLINE: usize = 1 << 20;

type Answer = Pin<Box<dyn Future<Output = SubmitStreamResponse> + Send>>;

pub(super) struct SubmitStream {
    context: Arc<Context>,
    /// To submit to some source; which one is checked of every batch.
    permit: Permit,
    requests: Streaming<SubmitStreamRequest>,
    /// The client has said all it wanted to say.
    half_closed: bool,
    /// A large batch that is being described; the next one is not taken before it has its place.
    describing: Option<(u64, JoinHandle<Batch>)>,
    in_flight: FuturesUnordered<Answer>,
}

/// What happens next on a stream.
enum Step {
    Answered(SubmitStreamResponse),
    Described(u64, Option<Batch>),
    Request(SubmitStreamRequest),
    HalfClosed,
    Failed(Status),
    Draining,
    End,
}

impl SubmitStream {
    pub(super) fn new(
        context: Arc<Context>,
        permit: Permit,
        requests: Streaming<SubmitStreamRequest>,
    ) -> Self {
        Self {
            context,
            permit,
            requests,
            half_closed: false,
            describing: None,
            in_flight: FuturesUnordered::new(),
        }
    }

    /// One answer for each batch, until the client has closed its side and all are given, the
    /// client is gone or may not submit any more, or the process drains.
    pub(super) fn answers(
        self,
    ) -> impl futures_core::Stream<Item = Result<SubmitStreamResponse, Status>> + Send {
        unfold(Some(self), |state| async move {
            let mut stream = state?;
            match stream.next().await? {
                Ok(answer) => Some((Ok(answer), Some(stream))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Option<Result<SubmitStreamResponse, Status>> {
        loop {
            match self.step().await {
                Step::Answered(answer) => return Some(Ok(answer)),
                Step::Described(sequence, Some(batch)) => self.place(sequence, batch).await,
                Step::Described(sequence, None) => {
                    let message = "describing the events failed; see the log".to_owned();
                    let metrics = &self.context.metrics;
                    return Some(Ok(answer::failure(
                        metrics,
                        sequence,
                        Reason::Unavailable,
                        message,
                    )));
                }
                Step::Request(request) => {
                    if let Some(refused) = self.take(request).await {
                        return Some(refused);
                    }
                }
                Step::HalfClosed => self.half_closed = true,
                Step::Draining => {}
                Step::Failed(status) => return Some(Err(status)),
                Step::End => return None,
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn step(&mut self) -> Step {
        let idle = self.in_flight.is_empty() && self.describing.is_none();
        if idle && self.half_closed {
            return Step::End;
        }
        if idle && self.context.draining.is_cancelled() {
            // What has arrived is answered, so that its sender need not wait for a broken stream.
            return match self.requests.message().now_or_never() {
                Some(Ok(Some(request))) => Step::Answered(self.refuse_draining(&request)),
                Some(Err(status)) => Step::Failed(status),
                Some(Ok(None)) | None => Step::End,
            };
        }
        let room = self.in_flight.len() < IN_FLIGHT && self.describing.is_none();
        let open = room && !self.half_closed && !self.context.draining.is_cancelled();
        tokio::select! {
            biased;
            Some(answer) = self.in_flight.next() => Step::Answered(answer),
            (sequence, batch) = described(&mut self.describing), if self.describing.is_some() => {
                self.describing = None;
                Step::Described(sequence, batch)
            }
            status = self.permit.revoked() => Step::Failed(status),
            message = self.requests.message(), if open => match message {
                Ok(Some(request)) => Step::Request(request),
                Ok(None) => Step::HalfClosed,
                Err(status) => Step::Failed(status),
            },
            // Wakes an idle stream; one that still owes answers comes by here anyway.
            () = self.context.draining.cancelled(), if idle => Step::Draining,
        }
    }

    /// Checks a batch, describes it, and gives it its place; or answers why not.
    async fn take(
        &mut self,
        request: SubmitStreamRequest,
    ) -> Option<Result<SubmitStreamResponse, Status>> {
        let sequence = request.sequence;
        self.context.metrics.batch(request.submissions.len());
        let sources = self.context.sources.borrow().clone();
        let checked = Checked::new(request.submissions, &sources, self.permit.caller());
        let checked = match checked {
            Ok(checked) => checked,
            Err(refused) => {
                let metrics = &self.context.metrics;
                return Some(answer::refused_on_stream(metrics, sequence, refused));
            }
        };
        if checked.bytes() > DESCRIBED_INLINE {
            let task = tokio::task::spawn_blocking(move || checked.describe());
            self.describing = Some((sequence, task));
        } else {
            let batch = checked.describe();
            self.place(sequence, batch).await;
        }
        None
    }

    /// Gives a batch its place in the store's order: when this returns, it has one.
    async fn place(&mut self, sequence: u64, batch: Batch) {
        let context = self.context.clone();
        let Batch { events, places } = batch;
        let mut answer: Answer = Box::pin(async move {
            let accepted = match events.is_empty() {
                true => Ok(Vec::new()),
                false => context.store.accept(events).await,
            };
            answer::stored(&context.metrics, sequence, &places, accepted)
        });
        let first = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
        self.in_flight.push(match first {
            Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
            // Polled again when the set is, with the set's own waker.
            Poll::Pending => answer,
        });
    }

    fn refuse_draining(&self, request: &SubmitStreamRequest) -> SubmitStreamResponse {
        self.context.metrics.batch(request.submissions.len());
        answer::draining(&self.context.metrics, request.sequence)
    }
}

/// Waits for the batch that is being described; `None`: describing it panicked. Cancel-safe.
async fn described(describing: &mut Option<(u64, JoinHandle<Batch>)>) -> (u64, Option<Batch>) {
    match describing {
        Some((sequence, task)) => (*sequence, task.await.ok()),
        None => std::future::pending().await,
    }
}
