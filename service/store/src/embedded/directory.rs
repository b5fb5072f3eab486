//! Entries of directories: reading, writing by comparing revisions, and the index of changes. What
//! keys and values mean is the directory's business.
//!
//! Each write of a source has the next revision. The index has one place for each entry, at its
//! newest revision, so that it is never longer than the directory.

use std::ops::Bound;

use bytes::Bytes;
use fjall::Readable;
use segment_source_core::source::SourceHash;

use super::{
    engine::{Engine, LOOK_BYTES},
    keys::{self, Space},
    txn::Txn,
};
use crate::{
    contract::{DirectoryRecord, DirectoryWrite, Written},
    fault::Fault,
};

/// Keys with their entries.
type Entries = Vec<(Bytes, DirectoryRecord)>;

pub(super) fn get(
    engine: &Engine,
    source: SourceHash,
    keys: &[Bytes],
) -> Result<Vec<Option<DirectoryRecord>>, Fault> {
    let snapshot = engine.snapshot();
    let space = engine.space(Space::Directory);
    let get = |key: &Bytes| {
        let stored = snapshot.get(space, keys::directory(source, key))?;
        stored.map(|stored| decode(&stored)).transpose()
    };
    keys.iter().map(get).collect()
}

/// And the newest revision from before.
pub(super) fn scan(
    engine: &Engine,
    source: SourceHash,
    prefix: &[u8],
    after: Option<Bytes>,
    limit: usize,
) -> Result<(Entries, u64), Fault> {
    let snapshot = engine.snapshot();
    let newest = snapshot.get(engine.space(Space::Revisions), source.0)?;
    let newest = newest.map_or(0, |newest| keys::number(&newest, 0));
    let prefix = keys::directory(source, prefix);
    let after = after.map(|after| keys::directory(source, &after));
    let from = match after.filter(|after| *after >= prefix) {
        Some(after) => Bound::Excluded(after),
        None => Bound::Included(prefix.clone()),
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for stored in snapshot.range(engine.space(Space::Directory), (from, Bound::Unbounded)) {
        if entries.len() >= limit || bytes >= LOOK_BYTES {
            break;
        }
        let (key, value) = stored.into_inner()?;
        if !key.starts_with(&prefix) {
            break;
        }
        bytes += key.len() + value.len();
        entries.push((Bytes::copy_from_slice(&key[8..]), decode(&value)?));
    }
    Ok((entries, newest))
}

/// In the order of revisions.
pub(super) fn changes(
    engine: &Engine,
    source: SourceHash,
    after: u64,
    limit: usize,
) -> Result<Entries, Fault> {
    let snapshot = engine.snapshot();
    let range = (
        Bound::Excluded(keys::change(source, after)),
        Bound::Included(keys::change(source, u64::MAX)),
    );
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for stored in snapshot.range(engine.space(Space::Changes), range) {
        if entries.len() >= limit || bytes >= LOOK_BYTES {
            break;
        }
        let (_, key) = stored.into_inner()?;
        let stored = snapshot.get(engine.space(Space::Directory), keys::directory(source, &key))?;
        let stored = stored.ok_or(Fault::damaged("the directory's index of changes"))?;
        bytes += key.len() + stored.len();
        entries.push((Bytes::copy_from_slice(&key), decode(&stored)?));
    }
    Ok(entries)
}

pub(super) fn write(
    txn: &mut Txn<'_>,
    source: SourceHash,
    writes: Vec<DirectoryWrite>,
) -> Result<Vec<Written>, Fault> {
    let newest = txn.get(Space::Revisions, &source.0)?;
    let mut newest = newest.map_or(0, |newest| keys::number(&newest, 0));
    let mut results = Vec::with_capacity(writes.len());
    for DirectoryWrite { key, expected, value } in writes {
        let at = keys::directory(source, &key);
        let there = txn.get(Space::Directory, &at)?.map(|stored| keys::number(&stored, 0));
        if there != expected {
            results.push(Written::Conflict);
            continue;
        }
        newest += 1;
        if let Some(before) = there {
            txn.remove(Space::Changes, &keys::change(source, before));
        }
        match value {
            Some(value) => {
                let record = [newest.to_be_bytes().as_slice(), &value].concat();
                txn.put(Space::Directory, &at, record);
                txn.put(Space::Changes, &keys::change(source, newest), key.to_vec());
            }
            None => txn.remove(Space::Directory, &at),
        }
        results.push(Written::Done(newest));
    }
    txn.put(Space::Revisions, &source.0, newest.to_be_bytes().to_vec());
    Ok(results)
}

fn decode(stored: &[u8]) -> Result<DirectoryRecord, Fault> {
    let (revision, value) =
        stored.split_first_chunk().ok_or(Fault::damaged("an entry of a directory"))?;
    let value = Bytes::copy_from_slice(value);
    Ok(DirectoryRecord { revision: u64::from_be_bytes(*revision), value })
}
