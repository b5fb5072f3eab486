//! What the edge knows of sources: one complete snapshot at a time, published through a watch.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use segment_source_core::source::SourceId;

use crate::{LiveSource, Reply};

/// All sources. While `synced` is false a name that is missing may still come.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Whether the provider of configuration has named every source it knows.
    pub synced: bool,
    /// Namespaces of which it does not know what is in them.
    pub unread: BTreeSet<String>,
    /// By identity.
    pub sources: HashMap<SourceId, SourceState>,
}

/// One source.
#[derive(Clone, Debug)]
pub enum SourceState {
    /// In service.
    Live(Arc<LiveSource>),
    /// It exists, but its configuration cannot be used; requests are answered 503.
    NotLoaded {
        /// For people; not shown to senders.
        reason: String,
    },
    /// It was removed within the last hour, perhaps by mistake; requests are answered 503.
    RecentlyRemoved,
}

impl Sources {
    /// The source a request is for.
    pub(crate) fn find(&self, id: &SourceId) -> Result<Arc<LiveSource>, Reply> {
        match self.sources.get(id) {
            Some(SourceState::Live(source)) => Ok(Arc::clone(source)),
            Some(SourceState::NotLoaded { reason }) => {
                tracing::debug!(source = %id, reason, "refused: configuration not loaded");
                Err(Reply::SourceNotLoaded)
            }
            Some(SourceState::RecentlyRemoved) => Err(Reply::SourceRemoved),
            None if self.synced && !self.unread.contains(id.namespace()) => {
                Err(Reply::SourceUnknown)
            }
            None => Err(Reply::NotSynced),
        }
    }
}
