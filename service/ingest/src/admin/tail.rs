//! The entries of a source's log as they are written. Driven by the client's reading; a client
//! that falls behind is not waited for by anybody, it reads them later.

use std::collections::VecDeque;

use futures_util::stream::unfold;
use segment_source_core::{event::EventId, source::SourceId};
use segment_source_proto::admin::v1::TailEventsResponse;
use segment_source_rpc::{Permit, problem};
use segment_source_store::{LogEntry, LogRange, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::present::summary;
use crate::status;

/// So many entries are read at a time; the store bounds their bytes.
const PAGE: usize = 100;

pub(super) struct Tail {
    store: Store,
    permit: Permit,
    source: SourceId,
    /// The entry last seen.
    after: EventId,
    draining: CancellationToken,
    page: VecDeque<LogEntry>,
}

impl Tail {
    /// From the newest entry there is when this returns. `configured`: whether a log without
    /// entries is a source's at all.
    pub(super) async fn start(
        store: Store,
        permit: Permit,
        source: SourceId,
        configured: bool,
        draining: CancellationToken,
    ) -> Result<Self, Status> {
        let range = LogRange { source: source.clone(), before: None, since: None, until: None };
        let newest = store.read_log(range, 1).await.map_err(|error| status::store(&error))?;
        let after = match newest.first() {
            Some(entry) => entry.id,
            None if configured => EventId { millis: 0, sequence: 0, source: source.hash() },
            None => return Err(status::no_such_source(&source)),
        };
        Ok(Self { store, permit, source, after, draining, page: VecDeque::new() })
    }

    pub(super) fn answers(
        self,
    ) -> impl futures_core::Stream<Item = Result<TailEventsResponse, Status>> + Send {
        unfold(Some(self), |tail| async move {
            let mut tail = tail?;
            match tail.next().await {
                Ok(entry) => {
                    let event = Some(summary(&entry));
                    Some((Ok(TailEventsResponse { event }), Some(tail)))
                }
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<LogEntry, Status> {
        loop {
            self.permit.check()?;
            if let Some(entry) = self.page.pop_front() {
                self.after = entry.id;
                return Ok(entry);
            }
            let page = tokio::select! {
                page = self.store.next_events(&self.source, Some(self.after), PAGE) => page,
                () = self.draining.cancelled() => return Err(problem::draining()),
                status = self.permit.revoked() => return Err(status),
            };
            self.page = page.map_err(|error| status::store(&error))?.into();
        }
    }
}
