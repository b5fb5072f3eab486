//! `List`: one page.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use segment_source_core::{
    directory::{Key, Kind},
    source::SourceId,
};
use segment_source_proto::directory::v1::{ListRequest, ListResponse};
use segment_source_store::Store;
use tonic::Status;

use super::{
    present::{Known, entities, kind},
    problem,
};

const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;

/// A page ends with the entry that goes beyond, so that it fits into gRPC's 4 MiB.
const PAGE_BYTES: usize = 2 << 20;

/// A page ends after so many entries were looked at, most of them deleted.
const MOST_READ: usize = 20_000;

pub(super) async fn list(
    store: &Store,
    source: &SourceId,
    request: ListRequest,
) -> Result<ListResponse, Status> {
    let prefix = prefix(&request)?;
    let size = if request.page_size == 0 { PAGE } else { request.page_size };
    if size > LARGEST_PAGE {
        return Err(problem::invalid("page_size", "must be 0 to 1,000"));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut after = after(&request.page_token, &prefix)?;
    let (mut page, mut read, mut bytes, mut revision) = (Vec::new(), 0, 0, None);
    let ended = loop {
        let scan = store.directory_scan(source, prefix.clone(), after.clone(), size - page.len());
        let (found, newest) = scan.await.map_err(|error| problem::store(&error))?;
        // The first is from before anything was read.
        revision.get_or_insert(newest);
        if found.is_empty() {
            break true;
        }
        read += found.len();
        for (key, found) in found {
            if bytes >= PAGE_BYTES {
                break;
            }
            after = Some(key.clone());
            let Some(key) = Key::from_bytes(&key) else { continue };
            let known = Known::read(key, &found)?;
            if known.record.exists() {
                bytes += found.value.len();
                page.push(known);
            }
        }
        if page.len() >= size || bytes >= PAGE_BYTES || read >= MOST_READ {
            break false;
        }
    };
    let token = after.filter(|_| !ended).map(|after| BASE64_URL_SAFE_NO_PAD.encode(after));
    Ok(ListResponse {
        entities: entities(store, source, page).await?,
        next_page_token: token.unwrap_or_default(),
        revision: revision.unwrap_or_default(),
    })
}

/// What the keys of the entries begin with that are asked for.
fn prefix(request: &ListRequest) -> Result<Bytes, Status> {
    let kind = kind("kind", request.kind)?;
    let ListRequest { collection, object, audience, .. } = request;
    for (field, value, kinds) in [
        ("collection", collection, &[Kind::Object, Kind::Subscription][..]),
        ("object", object, &[Kind::Subscription]),
        ("audience", audience, &[Kind::Member]),
    ] {
        if !value.is_empty() && !kinds.contains(&kind) {
            return Err(problem::invalid(field, "does not narrow this kind; leave it empty"));
        }
    }
    if !object.is_empty() && collection.is_empty() {
        return Err(problem::invalid("collection", "name the object's collection"));
    }
    let parts = [collection, object, audience].into_iter().filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.map(String::as_str).collect();
    Ok(kind.prefix(&parts).into())
}

/// The key that a page token continues from.
fn after(token: &str, prefix: &[u8]) -> Result<Option<Bytes>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let after = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let after = after.filter(|after| after.starts_with(prefix) && after.len() <= 4_096);
    let wrong = || {
        let what = "must be `next_page_token` of a page of the same list; begin without one";
        problem::invalid("page_token", what)
    };
    after.map(|after| Some(after.into())).ok_or_else(wrong)
}
