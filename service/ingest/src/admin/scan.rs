//! A search through a source's log, newest first: entries as they are found and, in between, how
//! far it has come. Driven by the client's reading: it stops when the client is gone, and holds one
//! page in memory.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures_util::stream::unfold;
use segment_source_core::event::EventId;
use segment_source_proto::admin::v1::{
    ListEventsResponse, Progress, list_events_response::Response,
};
use segment_source_rpc::{Permit, problem};
use segment_source_store::{LogEntry, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    present::{summary, timestamp},
    request::Search,
};
use crate::status;

/// So many entries are read at a time; the store bounds their bytes.
const PAGE: usize = 100;

/// The client hears of the progress after so many entries, or so much time, without an entry for
/// it.
const QUIET_ENTRIES: u64 = 1_000;
const QUIET_TIME: Duration = Duration::from_millis(500);

pub(super) struct Scan {
    store: Store,
    permit: Permit,
    search: Search,
    configured: bool,
    draining: CancellationToken,
    page: VecDeque<LogEntry>,
    scanned: u64,
    reached: Option<EventId>,
    /// Since then and since that many entries the client has heard nothing.
    told: (Instant, u64),
}

impl Scan {
    /// `configured`: whether a log without entries is a source's at all.
    pub(super) fn new(
        store: Store,
        permit: Permit,
        search: Search,
        configured: bool,
        draining: CancellationToken,
    ) -> Self {
        let told = (Instant::now(), 0);
        let page = VecDeque::new();
        Self { store, permit, search, configured, draining, page, scanned: 0, reached: None, told }
    }

    pub(super) fn answers(
        self,
    ) -> impl futures_core::Stream<Item = Result<ListEventsResponse, Status>> + Send {
        unfold(Some(self), |scan| async move {
            let mut scan = scan?;
            match scan.next().await {
                Ok(Some(response)) => {
                    Some((Ok(ListEventsResponse { response: Some(response) }), Some(scan)))
                }
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// What the client hears next; `None`: the scan has ended.
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        while self.search.limit > 0 {
            if let Some(response) = self.search_page() {
                return Ok(Some(response));
            }
            if !self.read_page().await? {
                return self.end();
            }
        }
        Ok(None)
    }

    fn search_page(&mut self) -> Option<Response> {
        while let Some(entry) = self.page.pop_front() {
            self.scanned += 1;
            self.reached = Some(entry.id);
            if self.search.filter.holds(&entry) {
                self.search.limit -= 1;
                self.told = (Instant::now(), self.scanned);
                return Some(Response::Event(summary(&entry)));
            }
            let (when, scanned) = self.told;
            if self.scanned - scanned >= QUIET_ENTRIES || when.elapsed() >= QUIET_TIME {
                return Some(self.progress());
            }
        }
        None
    }

    /// The log's next page; whether there was one.
    async fn read_page(&mut self) -> Result<bool, Status> {
        self.permit.check()?;
        let mut range = self.search.range.clone();
        range.before = self.reached.or(range.before);
        let page = tokio::select! {
            page = self.store.read_log(range, PAGE) => page.map_err(|e| status::store(&e))?,
            () = self.draining.cancelled() => return Err(problem::draining()),
        };
        self.page = page.into();
        Ok(!self.page.is_empty())
    }

    /// The last word says how much was searched, unless the last entry has just said it.
    fn end(&mut self) -> Result<Option<Response>, Status> {
        let range = &self.search.range;
        let whole = range.before.is_none() && range.since.is_none() && range.until.is_none();
        if self.scanned == 0 && whole && !self.configured {
            return Err(status::no_such_source(&range.source));
        }
        self.search.limit = 0;
        let untold = self.scanned > self.told.1;
        Ok(untold.then(|| self.progress()))
    }

    fn progress(&mut self) -> Response {
        self.told = (Instant::now(), self.scanned);
        let reached = self.reached.map(|id| timestamp(id.millis));
        Response::Progress(Progress { scanned: self.scanned, reached })
    }
}
