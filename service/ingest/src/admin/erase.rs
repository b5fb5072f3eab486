//! `EraseUser`: looks through a source's whole log for events of a user, and removes what they say.
//! Driven by the client's reading, so it ends with the client; asking again goes on, as what is
//! erased is not found again.

use bytes::Bytes;
use futures_util::stream::unfold;
use segment_source_core::{event::EventId, source::SourceId};
use segment_source_proto::admin::v1::EraseUserResponse;
use segment_source_rpc::{Permit, problem};
use segment_source_store::{Store, directory::erase_user};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::status;

/// So many entries are looked at in a step; the store bounds their bytes.
const PAGE: usize = 500;

pub(super) struct Erasure {
    store: Store,
    permit: Permit,
    source: SourceId,
    user_id: String,
    /// Whether a source of which there is nothing is one at all.
    configured: bool,
    draining: CancellationToken,
    /// The entry looked at last.
    after: Option<EventId>,
    told: EraseUserResponse,
}

impl Erasure {
    pub(super) fn new(
        store: Store,
        permit: Permit,
        source: SourceId,
        user_id: &str,
        configured: bool,
        draining: CancellationToken,
    ) -> Self {
        let (user_id, told) = (user_id.to_owned(), EraseUserResponse::default());
        Self { store, permit, source, user_id, configured, draining, after: None, told }
    }

    pub(super) fn answers(
        self,
    ) -> impl futures_core::Stream<Item = Result<EraseUserResponse, Status>> + Send {
        unfold(Some(self), |erasure| async move {
            let mut erasure = erasure?;
            if erasure.told.complete {
                return None;
            }
            match erasure.step().await {
                Ok(()) => Some((Ok(erasure.told), Some(erasure))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn step(&mut self) -> Result<(), Status> {
        self.permit.check()?;
        if self.draining.is_cancelled() {
            return Err(problem::draining());
        }
        let page = self.store.read_log_after(&self.source, self.after, PAGE).await;
        let page = page.map_err(|error| status::store(&error))?;
        let Some(last) = page.last() else {
            return self.directory().await;
        };
        self.after = Some(last.id);
        self.told.events_scanned += u64::try_from(page.len()).unwrap_or(u64::MAX);
        let order_key = format!("user:{}", self.user_id);
        let of_user = page.iter().filter(|it| it.event.order_key.as_ref() == Some(&order_key));
        let events: Vec<EventId> = of_user.map(|entry| entry.id).collect();
        if !events.is_empty() {
            let removed = self.store.erase(events).await.map_err(|error| status::store(&error))?;
            self.told.events_erased += removed.events;
            self.told.actions_erased += removed.actions;
        }
        Ok(())
    }

    /// Last, so that no event that still waited has written to it behind our back.
    async fn directory(&mut self) -> Result<(), Status> {
        if !self.configured && self.told.events_scanned == 0 {
            let any = self.store.directory_scan(&self.source, Bytes::new(), None, 1).await;
            if any.map_err(|error| status::store(&error))?.0.is_empty() {
                return Err(status::no_such_source(&self.source));
            }
        }
        let now = self.store.now();
        let erased = erase_user(&self.store, &self.source, &self.user_id, now).await;
        let erased = erased.map_err(|error| status::store(&error))?;
        self.told.directory_entries_erased = erased;
        self.told.complete = true;
        Ok(())
    }
}
