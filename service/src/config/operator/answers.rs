//! What one stream is owed: an Ack for what is in service, and before it a Nack for each state that
//! cannot be used.
//!
//! Versions are the operator's; snapshots are ours, and one may hold many versions. Nothing is
//! answered before everything was told: an Ack stands for all versions before it, and until then an
//! earlier one may still come.

use std::collections::BTreeMap;

use segment_source_core::source::SourceId;
use segment_source_proto::config::v1::{Ack, Nack, SourceName, WatchRequest, watch_request};

use crate::config::Applied;

/// Characters of a reason that are told; some cite what a manifest says.
const LONGEST_REASON: usize = 1000;

/// What is still to be answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// What was told and not answered, in the order in which it came.
    open: Vec<Open>,
    synced: bool,
    newest: u64,
    acknowledged: u64,
}

/// One state that was told.
#[derive(Debug, PartialEq)]
struct Open {
    version: u64,
    /// The snapshot it is in first.
    snapshot: u64,
    /// `None`: that everything was told.
    source: Option<SourceName>,
    /// Why it is in no snapshot.
    refused: Option<String>,
}

impl Answers {
    /// A state or a removal was told; it will be in this snapshot, unless it is refused already.
    pub(super) fn told(
        &mut self,
        version: u64,
        snapshot: u64,
        source: SourceName,
        refused: Option<&str>,
    ) {
        self.newest = self.newest.max(version);
        let refused = refused.map(str::to_owned);
        self.open.push(Open { version, snapshot, source: Some(source), refused });
    }

    /// Everything was told.
    pub(super) fn synced(&mut self, version: u64, snapshot: u64) {
        self.synced = true;
        self.newest = self.newest.max(version);
        self.open.push(Open { version, snapshot, source: None, refused: None });
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The answers to everything that is in this snapshot, or was refused on the way to it.
    pub(super) fn applied(&mut self, applied: &Applied) -> Vec<WatchRequest> {
        if !self.synced {
            return Vec::new();
        }
        let in_service = |open: &Open| open.snapshot <= applied.snapshot.version;
        let rest = self.open.iter().position(|open| !in_service(open)).unwrap_or(self.open.len());
        // The newest state of each source is what the tables have seen.
        let (mut newest, mut version) = (BTreeMap::new(), self.acknowledged);
        for open in self.open.drain(..rest) {
            version = version.max(open.version);
            if let Some(SourceName { namespace, name }) = open.source {
                newest.insert((namespace, name), (open.version, open.refused));
            }
        }
        let mut nacks: Vec<Nack> = newest
            .into_iter()
            .filter_map(|((namespace, name), (version, refused))| {
                let id = SourceId::new(&namespace, &name).ok();
                let reason = refused.or_else(|| applied.refused.get(&id?).cloned())?;
                let reason = reason.chars().take(LONGEST_REASON).collect();
                Some(Nack { version, source: Some(SourceName { namespace, name }), reason })
            })
            .collect();
        nacks.sort_by_key(|nack| nack.version);
        let nacks = nacks.into_iter().map(watch_request::Request::Nack);
        let ack = (version > self.acknowledged).then(|| {
            self.acknowledged = version;
            watch_request::Request::Ack(Ack { version })
        });
        nacks.chain(ack).map(|request| WatchRequest { request: Some(request) }).collect()
    }
}
