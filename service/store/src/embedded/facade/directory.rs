//! Directories to their callers.

use bytes::Bytes;
use segment_source_core::source::SourceId;
use tokio::sync::futures::OwnedNotified;

use crate::{
    contract::{DirectoryRecord, DirectoryWrite, StoreError, Written},
    embedded::{Store, command::Command, directory},
};

impl Store {
    pub(crate) async fn directory(
        &self,
        source: &SourceId,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<DirectoryRecord>>, StoreError> {
        let source = source.hash();
        self.read(move |engine, _| directory::get(engine, source, &keys)).await
    }

    pub(crate) async fn directory_scan(
        &self,
        source: &SourceId,
        prefix: Bytes,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, DirectoryRecord)>, u64), StoreError> {
        let source = source.hash();
        self.read(move |engine, _| directory::scan(engine, source, &prefix, after, limit)).await
    }

    pub(crate) async fn directory_changes(
        &self,
        source: &SourceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Bytes, DirectoryRecord)>, StoreError> {
        let source = source.hash();
        self.read(move |engine, _| directory::changes(engine, source, after, limit)).await
    }

    pub(crate) fn directory_changed(&self, source: &SourceId) -> OwnedNotified {
        self.0.shared.directories.listen(source.hash())
    }

    pub(crate) async fn directory_write(
        &self,
        source: &SourceId,
        writes: Vec<DirectoryWrite>,
    ) -> Result<Vec<Written>, StoreError> {
        let source = source.hash();
        self.ask(|answer| Command::WriteDirectory { source, writes, answer }).await
    }
}
