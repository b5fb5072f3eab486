//! What is done with a source's directory by those who do not deliver into it. The rules are
//! `segment_source_core::directory`'s; delivering and reading over gRPC are the destinations'.

use bytes::Bytes;
use segment_source_core::{
    directory::{Key, Record, Stamp},
    source::SourceId,
};

use crate::{
    Store,
    contract::{DirectoryWrite, Millis, StoreError, Written},
};

/// So many entries are removed at once.
const PAGE: usize = 512;

/// Removes what a source's directory knows of a user: properties, subscriptions and memberships.
/// What stays is that the user of this id was deleted `now`, or at the newest event known of it if
/// that is later, so that events from before do not bring anything back. How many entries there
/// were, the user among them.
///
/// Those who watch the directory see the user deleted; subscriptions and memberships go without a
/// word of their own, as naming them would name the user.
///
/// # Errors
/// Then some of it may be left; asking again removes the rest.
pub async fn erase_user(
    store: &Store,
    source: &SourceId,
    user_id: &str,
    now: Millis,
) -> Result<u64, StoreError> {
    let user = Key::user(user_id);
    if user.check().is_err() {
        // No such entry can be.
        return Ok(0);
    }
    let (existed, stamp) = entomb(store, source, &user, now).await?;
    let mut removed = u64::from(existed);
    for dependants in user.dependants() {
        let mut after = None;
        loop {
            let prefix = Bytes::from(dependants.prefix.clone());
            let (notes, _) = store.directory_scan(source, prefix, after, PAGE).await?;
            let Some((last, _)) = notes.last() else { break };
            after = Some(last.clone());
            let notes = notes.into_iter();
            let noted = notes.map(|(note, _)| (note.slice_ref(dependants.entry(&note)), note));
            removed += erase(store, source, noted.collect(), stamp).await?;
        }
    }
    Ok(removed)
}

/// Leaves of the user that it was deleted; whether there was one, and as of when.
async fn entomb(
    store: &Store,
    source: &SourceId,
    user: &Key,
    now: Millis,
) -> Result<(bool, Stamp), StoreError> {
    let key = Bytes::from(user.to_bytes());
    loop {
        let known =
            read(store, source, std::slice::from_ref(&key)).await?.pop().unwrap_or_default();
        let (revision, mut record) = known.unwrap_or_default();
        let existed = record.exists();
        let stamp = Stamp::deciding(now, record.updated());
        record.delete(stamp);
        let value = Some(record.to_bytes().into());
        let write = DirectoryWrite { key: key.clone(), expected: revision, value };
        let written = store.directory_write(source, vec![write]).await?;
        if matches!(written[..], [Written::Done(_)]) {
            return Ok((existed, stamp));
        }
    }
}

/// Removes entries and the notes of them, but for what is newer; how many entries there were.
async fn erase(
    store: &Store,
    source: &SourceId,
    mut noted: Vec<(Bytes, Bytes)>,
    stamp: Stamp,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    let mut without = Vec::new();
    while !noted.is_empty() {
        let keys: Vec<Bytes> = noted.iter().map(|(entry, _)| entry.clone()).collect();
        let (mut asked, mut writes) = (Vec::new(), Vec::new());
        for (noted, known) in noted.into_iter().zip(read(store, source, &keys).await?) {
            let Some((expected, mut record)) = known else {
                without.push(noted);
                continue;
            };
            let before = record.exists();
            if !record.delete(stamp).changed && record.exists() {
                continue;
            }
            let value = record.exists().then(|| record.to_bytes().into());
            let (key, stays) = (noted.0.clone(), value.is_some());
            writes.push(DirectoryWrite { key, expected, value });
            asked.push((noted, stays, before && !stays));
        }
        noted = Vec::new();
        let written = store.directory_write(source, writes).await?;
        for ((it, stays, gone), written) in asked.into_iter().zip(written) {
            match written {
                Written::Conflict => noted.push(it),
                Written::Done(_) => {
                    removed += u64::from(gone);
                    if !stays {
                        without.push(it);
                    }
                }
            }
        }
    }
    forget(store, source, without).await?;
    Ok(removed)
}

/// Removes notes of entries that are gone.
async fn forget(
    store: &Store,
    source: &SourceId,
    without: Vec<(Bytes, Bytes)>,
) -> Result<(), StoreError> {
    let (entries, notes): (Vec<_>, Vec<_>) = without.into_iter().unzip();
    let known = store.directory(source, notes.clone()).await?;
    let writes = notes.iter().zip(known).filter_map(|(note, known)| {
        let expected = Some(known?.revision);
        Some(DirectoryWrite { key: note.clone(), expected, value: None })
    });
    store.directory_write(source, writes.collect()).await?;
    // An entry may have been made anew meanwhile, by somebody who saw the note.
    let known = store.directory(source, entries).await?;
    let writes = notes.into_iter().zip(known).filter(|(_, known)| known.is_some());
    let value = Some(Bytes::new());
    let writes =
        writes.map(|(key, _)| DirectoryWrite { key, expected: None, value: value.clone() });
    store.directory_write(source, writes.collect()).await.map(|_| ())
}

/// An entry's revision, and what is known of it.
type Known = (Option<u64>, Record);

/// What cannot be read counts as nothing: it is to be removed all the same.
async fn read(
    store: &Store,
    source: &SourceId,
    keys: &[Bytes],
) -> Result<Vec<Option<Known>>, StoreError> {
    let found = store.directory(source, keys.to_vec()).await?;
    let known = |it: crate::DirectoryRecord| {
        (Some(it.revision), Record::from_bytes(&it.value).unwrap_or_default())
    };
    Ok(found.into_iter().map(|found| found.map(known)).collect())
}
