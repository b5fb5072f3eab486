//! Answers of Redis into values and errors.

use redis::RedisError;
use segment_source_core::{
    event::{ActionId, EventId},
    source::{SourceHash, SourceId},
};

use super::connect::Trouble;
use crate::{contract::StoreError, fault::Fault};

/// What became of a call that failed.
pub(super) fn failed(error: &RedisError, full: Option<(u64, u64)>) -> StoreError {
    // Said by Redis itself when a script may not take more memory.
    if error.code() == Some("OOM") {
        let (free, reserve) = full.unwrap_or_default();
        return StoreError::Full { free, reserve };
    }
    let trouble = Trouble::new(error, "Redis");
    tracing::warn!(%trouble, %error, "Redis did not do what it was asked");
    StoreError::Unavailable(trouble.to_string())
}

pub(super) fn damaged(what: &'static str) -> Fault {
    Fault::damaged(what)
}

/// An event id without its source.
pub(super) fn id(bytes: &[u8], source: SourceHash) -> Result<EventId, StoreError> {
    let whole = <[u8; 16]>::try_from([bytes, &source.0].concat());
    Ok(EventId::from_bytes(whole.map_err(|_| damaged("an event id"))?))
}

pub(super) fn action(bytes: &[u8]) -> Result<ActionId, StoreError> {
    Ok(ActionId::from_bytes(bytes.try_into().map_err(|_| damaged("an action's id"))?))
}

/// An id as a stream has it.
pub(super) fn stream_id(id: EventId) -> String {
    format!("{}-{}", id.millis, id.sequence)
}

/// The inverse of [`stream_id`].
pub(super) fn from_stream(text: &str, source: SourceHash) -> Result<EventId, StoreError> {
    let parse = || {
        let (millis, sequence) = text.split_once('-')?;
        Some(EventId { millis: millis.parse().ok()?, sequence: sequence.parse().ok()?, source })
    };
    Ok(parse().ok_or(damaged("an id in a stream"))?)
}

/// A source's name and its newest entry, as they are kept.
pub(super) fn newest(stored: &[u8], source: SourceHash) -> Result<(SourceId, EventId), StoreError> {
    let parse = || {
        let (newest, name) = stored.split_at_checked(8)?;
        Some((std::str::from_utf8(name).ok()?.parse().ok()?, newest))
    };
    let (name, newest) = parse().ok_or(damaged("a source's name"))?;
    Ok((name, id(newest, source)?))
}
