//! Ends subscriptions and memberships with the user or object they are of.

use bytes::Bytes;
use segment_source_core::{
    directory::{Key, Record, Stamp},
    source::SourceId,
};
use segment_source_store::{DirectoryWrite, Store, Written};

use super::write::{Fault, TRIES};

/// So many are read and written at once.
const PAGE: usize = 512;

/// Deletes, as of `stamp`, what depends on an entry that was deleted before this is called: what
/// is written later sees that. How many there were.
pub(super) async fn end_dependants(
    store: &Store,
    source: &SourceId,
    owner: &Key,
    stamp: Stamp,
) -> Result<usize, Fault> {
    let mut ended = 0;
    for dependants in owner.dependants() {
        let mut after = None;
        loop {
            let prefix = Bytes::from(dependants.prefix.clone());
            let (found, _) = store.directory_scan(source, prefix, after, PAGE).await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            let keys = found.iter().map(|(key, _)| key.slice_ref(dependants.entry(key))).collect();
            ended += end(store, source, keys, stamp).await?;
        }
    }
    Ok(ended)
}

async fn end(
    store: &Store,
    source: &SourceId,
    mut keys: Vec<Bytes>,
    stamp: Stamp,
) -> Result<usize, Fault> {
    let mut ended = 0;
    for _ in 0..TRIES {
        let mut writes = Vec::new();
        let mut existed = Vec::new();
        for (key, found) in keys.iter().zip(store.directory(source, keys.clone()).await?) {
            let Some(found) = found else { continue };
            let mut record = Record::from_bytes(&found.value)?;
            let before = record.exists();
            if record.delete(stamp).changed {
                existed.push(before && !record.exists());
                let (key, value) = (key.clone(), Some(record.to_bytes().into()));
                writes.push(DirectoryWrite { key, expected: Some(found.revision), value });
            }
        }
        if writes.is_empty() {
            return Ok(ended);
        }
        let asked: Vec<Bytes> = writes.iter().map(|write| write.key.clone()).collect();
        let written = store.directory_write(source, writes).await?;
        keys.clear();
        for ((key, existed), written) in asked.into_iter().zip(existed).zip(written) {
            match written {
                Written::Done(_) => ended += usize::from(existed),
                Written::Conflict => keys.push(key),
            }
        }
        if keys.is_empty() {
            return Ok(ended);
        }
    }
    Err(Fault::Contended)
}
