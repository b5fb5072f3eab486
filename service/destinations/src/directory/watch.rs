//! `Watch`: one stream as a state machine that only moves while the client reads. Nothing runs
//! behind it.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{Stream, stream};
use segment_source_core::{
    directory::{Key, Kind},
    source::SourceId,
};
use segment_source_proto::directory::v1::{Entity, WatchRequest, WatchResponse};
use segment_source_rpc::Permit;
use tonic::Status;

use super::{
    DirectoryService,
    present::{Known, entities, kind},
    problem,
};

/// Changes that are read at once.
const AT_ONCE: usize = 256;

/// Checks the request and makes the response stream.
pub(super) async fn watch(
    service: DirectoryService,
    source: SourceId,
    permit: Permit,
    request: WatchRequest,
) -> Result<impl Stream<Item = Result<WatchResponse, Status>>, Status> {
    let kinds = request.kinds.into_iter().map(|it| kind("kinds", it));
    let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
    let after = request.after_revision;
    let newest = service.store.directory_scan(&source, Bytes::new(), None, 0).await;
    let (_, newest) = newest.map_err(|error| problem::store(&error))?;
    if after > newest {
        return Err(problem::unknown_revision(after, newest));
    }
    // To who knows nothing yet, what is gone is no news.
    let begun = if after == 0 { newest } else { 0 };
    let outgoing = VecDeque::new();
    let watcher = Watcher { service, source, permit, kinds, after, begun, outgoing };
    Ok(stream::unfold(Some(watcher), |state| async move {
        let mut watcher = state?;
        match watcher.next().await {
            Ok(entity) => Some((Ok(WatchResponse { entity: Some(entity) }), Some(watcher))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Watcher {
    service: DirectoryService,
    source: SourceId,
    permit: Permit,
    /// Empty: all.
    kinds: Vec<Kind>,
    /// Everything up to it was read.
    after: u64,
    /// Deletions up to it are not shown.
    begun: u64,
    /// Ready to be sent.
    outgoing: VecDeque<Entity>,
}

impl Watcher {
    /// The next entity for the client, whenever there is one.
    async fn next(&mut self) -> Result<Entity, Status> {
        loop {
            self.permit.check()?;
            if self.service.shutdown.is_cancelled() {
                return Err(problem::draining());
            }
            if let Some(entity) = self.outgoing.pop_front() {
                return Ok(entity);
            }
            // Armed before looking, so that nothing that changes in between is missed.
            let changed = self.service.store.directory_changed(&self.source);
            if !self.read().await? {
                tokio::select! {
                    () = changed => {}
                    () = self.service.shutdown.cancelled() => {}
                    status = self.permit.revoked() => return Err(status),
                }
            }
        }
    }

    /// Reads what changed; whether there was anything.
    async fn read(&mut self) -> Result<bool, Status> {
        let store = &self.service.store;
        let changes = store.directory_changes(&self.source, self.after, AT_ONCE).await;
        let changes = changes.map_err(|error| problem::store(&error))?;
        let Some((_, last)) = changes.last() else { return Ok(false) };
        let after = last.revision;
        let mut known = Vec::new();
        for (key, found) in &changes {
            // Notes are among them.
            let Some(kind) = Kind::of(key) else { continue };
            if !self.kinds.is_empty() && !self.kinds.contains(&kind) {
                continue;
            }
            let Some(key) = Key::from_bytes(key) else { continue };
            let it = Known::read(key, found)?;
            if it.record.exists() || it.revision > self.begun {
                known.push(it);
            }
        }
        self.outgoing = entities(store, &self.source, known).await?.into();
        self.after = after;
        Ok(true)
    }
}
