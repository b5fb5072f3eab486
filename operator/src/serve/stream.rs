//! One replica's stream. It has no task and no queue: it moves only while the replica reads, so
//! one that reads slowly holds nobody up, and its next response is made when it is asked for.

use std::{ops::ControlFlow, pin::Pin};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use prometheus_client::metrics::counter::Counter;
use segment_source_proto::config::v1::{Nack, WatchRequest, WatchResponse, watch_request::Request};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::problem;
use crate::{compile::bounded, lease::Leadership, name::Name, table::Session};

/// Answers taken in a row before the next response.
const ANSWERS: usize = 64;

/// A connected replica.
pub(super) struct Watching {
    pub(super) replica: String,
    pub(super) session: Session,
    pub(super) requests: Streaming<WatchRequest>,
    pub(super) epoch: u64,
    pub(super) leadership: Leadership,
    pub(super) nacks: Counter,
    pub(super) draining: CancellationToken,
}

/// Why a stream ends: the replica has gone, or it is told something.
type End = Option<Status>;

impl Watching {
    pub(super) fn into_stream(
        self,
    ) -> Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>> {
        Box::pin(stream::unfold(Some(self), |watching| async move {
            let mut watching = watching?;
            match watching.next().await {
                ControlFlow::Continue(response) => Some((Ok(response), Some(watching))),
                ControlFlow::Break(end) => {
                    let why = end.as_ref().map_or("it left", Status::message);
                    info!(replica = watching.replica, "replica disconnected: {why}");
                    end.map(|status| (Err(status), None))
                }
            }
        }))
    }

    async fn next(&mut self) -> ControlFlow<End, WatchResponse> {
        loop {
            for _ in 0..ANSWERS {
                let Some(request) = self.requests.next().now_or_never() else { break };
                self.take(request)?;
            }
            // As late as possible before something is sent.
            if self.draining.is_cancelled() {
                return ControlFlow::Break(Some(problem::draining()));
            }
            let next = self.session.next();
            if self.leadership.epoch() != Some(self.epoch) {
                return ControlFlow::Break(Some(problem::not_leading()));
            }
            match next {
                Ok(Some(response)) => return ControlFlow::Continue(response),
                Ok(None) => {}
                Err(stale) => return ControlFlow::Break(Some(problem::stale(stale))),
            }
            tokio::select! {
                request = self.requests.next() => self.take(request)?,
                () = self.session.changed() => {}
                () = self.leadership.over(self.epoch) => {}
                () = self.draining.cancelled() => {}
            }
        }
    }

    fn take(&self, request: Option<Result<WatchRequest, Status>>) -> ControlFlow<End> {
        let Some(Ok(request)) = request else { return ControlFlow::Break(None) };
        match request.request {
            Some(Request::Ack(ack)) => self.session.ack(ack.version),
            Some(Request::Nack(nack)) => return self.refused(nack),
            Some(Request::Hello(_)) => {
                return ControlFlow::Break(Some(problem::invalid(
                    "hello",
                    "comes once, and first",
                )));
            }
            None => {
                let message = "must be an Ack or a Nack after Hello";
                return ControlFlow::Break(Some(problem::invalid("request", message)));
            }
        }
        ControlFlow::Continue(())
    }

    fn refused(&self, nack: Nack) -> ControlFlow<End> {
        let Some(source) = nack.source else {
            return ControlFlow::Break(Some(problem::invalid("nack.source", "is missing")));
        };
        let (name, reason) = (Name::new(source.namespace, source.name), bounded(nack.reason));
        self.nacks.inc();
        warn!(source = %name, replica = self.replica, "the replica refuses it: {reason}");
        self.session.nack(nack.version, name, reason);
        ControlFlow::Continue(())
    }
}
