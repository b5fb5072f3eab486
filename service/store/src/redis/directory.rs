//! Directories: entries by key, by order of keys and by order of revisions.

use bytes::Bytes;
use segment_source_core::source::{SourceHash, SourceId};
use tokio::sync::futures::OwnedNotified;

use super::{Store, page::LOOK_BYTES, partition};
use crate::{
    contract::{DirectoryRecord, DirectoryWrite, StoreError, Written},
    fault::Fault,
};

/// Entries read at once.
const PAGE: usize = 256;

/// Keys with their entries.
type Entries = Vec<(Bytes, DirectoryRecord)>;

impl Store {
    pub(crate) async fn directory(
        &self,
        source: &SourceId,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<DirectoryRecord>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(self.key_of(source.hash(), "dir:"));
        keys.iter().for_each(|key| {
            get.arg(&**key);
        });
        let found: Vec<Option<Vec<u8>>> = self.ask(&get).await?;
        Ok(found
            .into_iter()
            .map(|found| found.map(decode).transpose())
            .collect::<Result<_, _>>()?)
    }

    pub(crate) async fn directory_scan(
        &self,
        source: &SourceId,
        prefix: Bytes,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<(Entries, u64), StoreError> {
        let hash = source.hash();
        let mut newest = redis::cmd("HGET");
        newest.arg(self.key(hash, "dirv")).arg(&hash.0);
        let newest: Option<u64> = self.ask(&newest).await?;
        let mut from = match after.filter(|after| *after >= prefix) {
            Some(after) => [b"(", &*after].concat(),
            None => [b"[", &*prefix].concat(),
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < limit && bytes < LOOK_BYTES {
            let wanted = PAGE.min(limit - found.len());
            let mut range = redis::cmd("ZRANGEBYLEX");
            range.arg(self.key_of(hash, "dirk:")).arg(&from).arg("+");
            range.arg("LIMIT").arg(0).arg(wanted);
            let keys: Vec<Vec<u8>> = self.ask(&range).await?;
            let ended = keys.len() < wanted;
            let keys: Vec<Bytes> = keys.into_iter().map(Bytes::from).collect();
            if let Some(last) = keys.last() {
                from = [b"(", &**last].concat();
            }
            let inside = keys.iter().take_while(|key| key.starts_with(&prefix)).count();
            let ended = ended || inside < keys.len();
            let records = self.directory(source, keys[..inside].to_vec()).await?;
            for (key, record) in keys.into_iter().zip(records) {
                // `None`: gone meanwhile.
                let Some(record) = record else { continue };
                bytes += key.len() + record.value.len();
                found.push((key, record));
            }
            if ended {
                break;
            }
        }
        Ok((found, newest.unwrap_or(0)))
    }

    pub(crate) async fn directory_changes(
        &self,
        source: &SourceId,
        after: u64,
        limit: usize,
    ) -> Result<Entries, StoreError> {
        let hash = source.hash();
        let (mut found, mut bytes, mut after) = (Vec::new(), 0, after);
        while found.len() < limit && bytes < LOOK_BYTES {
            let wanted = PAGE.min(limit - found.len());
            let changed = self.changed(hash, after, wanted).await?;
            let ended = changed.len() < wanted;
            let Some((_, last)) = changed.last() else { break };
            after = *last;
            let keys: Vec<Bytes> = changed.iter().map(|(key, _)| key.clone()).collect();
            let records = self.directory(source, keys).await?;
            for ((key, revision), record) in changed.into_iter().zip(records) {
                // Written again or removed meanwhile: then it comes later, or not at all.
                let Some(record) = record.filter(|it| it.revision == revision) else { continue };
                bytes += key.len() + record.value.len();
                found.push((key, record));
            }
            if ended {
                break;
            }
        }
        Ok(found)
    }

    /// Keys with revisions after one, in their order.
    async fn changed(
        &self,
        source: SourceHash,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Bytes, u64)>, StoreError> {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(self.key_of(source, "dirc:")).arg(format!("({after}")).arg("+inf");
        range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
        let changed: Vec<(Vec<u8>, f64)> = self.ask(&range).await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, below 2^53"
        )]
        Ok(changed.into_iter().map(|(key, revision)| (key.into(), revision as u64)).collect())
    }

    pub(crate) fn directory_changed(&self, source: &SourceId) -> OwnedNotified {
        self.0.directories.listen(source.hash())
    }

    pub(crate) async fn directory_write(
        &self,
        source: &SourceId,
        writes: Vec<DirectoryWrite>,
    ) -> Result<Vec<Written>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = self.args();
        args.bytes(source.hash().0);
        args.push(writes.len());
        for DirectoryWrite { key, expected, value } in writes {
            args.bytes(key);
            args.push(expected.map_or(String::new(), |revision| revision.to_string()));
            args.push(u8::from(value.is_some()));
            args.bytes(value.unwrap_or_default());
        }
        let written: Vec<u64> =
            self.call(&self.scripts().directory, partition(source.hash()), &args).await?;
        let written = written.into_iter().map(|revision| match revision {
            0 => Written::Conflict,
            revision => Written::Done(revision),
        });
        Ok(written.collect())
    }
}

fn decode(stored: Vec<u8>) -> Result<DirectoryRecord, Fault> {
    let mut stored = Bytes::from(stored);
    let damaged = || Fault::damaged("an entry of a directory");
    let revision = *stored.first_chunk().ok_or_else(damaged)?;
    let value = stored.split_off(8);
    Ok(DirectoryRecord { revision: u64::from_be_bytes(revision), value })
}
