//! Directories.

use bytes::Bytes;
use segment_source_core::source::SourceId;
use tokio::sync::futures::OwnedNotified;

use super::{Store, each};
use crate::contract::{DirectoryRecord, DirectoryWrite, StoreError, Written};

impl Store {
    /// Entries of a source's directory by their keys, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory(
        &self,
        source: &SourceId,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<DirectoryRecord>>, StoreError> {
        each!(self, store => store.directory(source, keys).await)
    }

    /// Entries whose keys begin with `prefix`, in order, behind `after`, at most `limit` and about
    /// 4 MiB; and the source's newest revision from before they were read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory_scan(
        &self,
        source: &SourceId,
        prefix: Bytes,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, DirectoryRecord)>, u64), StoreError> {
        each!(self, store => store.directory_scan(source, prefix, after, limit).await)
    }

    /// Entries that changed after a revision, each once with its newest revision, in the order of
    /// revisions, at most `limit` and about 4 MiB.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn directory_changes(
        &self,
        source: &SourceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Bytes, DirectoryRecord)>, StoreError> {
        each!(self, store => store.directory_changes(source, after, limit).await)
    }

    /// Resolves when the source's directory changed since the call.
    pub fn directory_changed(&self, source: &SourceId) -> OwnedNotified {
        each!(self, store => store.directory_changed(source))
    }

    /// Writes entries of a source's directory, one result each, in order; a later one sees what an
    /// earlier one wrote. Durable when it answers.
    ///
    /// # Errors
    /// Then nothing is known of what was written.
    pub async fn directory_write(
        &self,
        source: &SourceId,
        writes: Vec<DirectoryWrite>,
    ) -> Result<Vec<Written>, StoreError> {
        each!(self, store => store.directory_write(source, writes).await)
    }
}
