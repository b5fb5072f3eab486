//! Names of keyspaces and the layout of every key: all of it, and nothing else. Integers are
//! big-endian, so that keys sort by number; parts have fixed lengths, so that no key is a prefix
//! of an unrelated one. Values are in [`super::records`].

use segment_source_core::{
    event::{ActionId, EventId},
    source::{SourceHash, short_hash},
};

use crate::contract::{Millis, Queue};

/// Version of everything in this file and in [`super::records`]. A store with a higher one is
/// refused.
pub(super) const FORMAT: u32 = 1;

/// Keyspaces that exist once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// [`FORMAT_KEY`], [`FINGERPRINT_KEY`] and [`COUNTERS_KEY`].
    Meta,
    /// `[fingerprint 16]` -> `Claim`.
    Claims,
    /// `[source 8]` -> `SourceRecord`: its name and newest entry.
    Sources,
    /// `[source 8]` -> event id, 16 bytes: everything up to it is planned.
    Cursors,
    /// `[queue 16][lane 8][seq 8]` -> `[action 20][size 4]`: actions not yet delivered or
    /// dead, and how many bytes their records have.
    Lanes,
    /// `[queue 16][lane 8]` -> `Place`: lanes that have actions, and where their heads stand.
    Places,
    /// `[queue 16][seq 8]` -> `Head`: heads that may be taken or are leased.
    Ready,
    /// `[queue 16][due millis 8][seq 8]` -> `Head`: heads that wait out a delay.
    Delayed,
    /// `[source 8][action 20]` -> empty: actions that failed or died, and may be revived.
    Dead,
    /// `[queue 16]` -> `Ledger`.
    Holds,
    /// `[source 8]` -> 8 bytes: about how many bytes its log has.
    Sizes,
    /// `[source 8][key]` -> `[revision 8][value]`.
    Directory,
    /// `[source 8][revision 8]` -> key: one for each entry of the directory.
    Changes,
    /// `[source 8]` -> 8 bytes: the newest revision of its directory.
    Revisions,
}

impl Space {
    pub(super) const ALL: [Self; 14] = [
        Self::Meta,
        Self::Claims,
        Self::Sources,
        Self::Cursors,
        Self::Lanes,
        Self::Places,
        Self::Ready,
        Self::Delayed,
        Self::Dead,
        Self::Holds,
        Self::Sizes,
        Self::Directory,
        Self::Changes,
        Self::Revisions,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Claims => "keys",
            Self::Sources => "sources",
            Self::Cursors => "cursors",
            Self::Lanes => "lanes",
            Self::Places => "places",
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Dead => "dead",
            Self::Holds => "holds",
            Self::Sizes => "sizes",
            Self::Directory => "directory",
            Self::Changes => "directory-changes",
            Self::Revisions => "directory-revisions",
        }
    }
}

/// In `meta`: [`FORMAT`], 4 bytes.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// In `meta`: 32 random bytes made at creation.
pub(super) const FINGERPRINT_KEY: &[u8] = b"fingerprint";
/// In `meta`: `Counters`.
pub(super) const COUNTERS_KEY: &[u8] = b"counters";

/// Each day (of an event id's milliseconds, UTC) has two keyspaces, so that retention can drop it
/// as a whole: `log-<day>` with `[source 8][millis 6][sequence 2]` -> `LogRecord`, and
/// `actions-<day>` with that same key -> `PlanRecord`, followed by `[run 2][index 2]` ->
/// `ActionRecord`, followed by [`STATE`] -> `StateRecord`; and each replay has `[run 2]` ->
/// `RunRecord`. Actions live in the day of their event.
pub(super) const LOG_PREFIX: &str = "log-";
/// See [`LOG_PREFIX`].
pub(super) const ACTIONS_PREFIX: &str = "actions-";
/// Last byte of the key of an action's state.
pub(super) const STATE: u8 = b's';
/// Bytes of the key of an action's state.
pub(super) const STATE_LENGTH: usize = 21;

const DAY: Millis = 24 * 60 * 60 * 1000;

/// The number of the day, from 1970.
pub(super) fn day(millis: Millis) -> u64 {
    millis / DAY
}

/// Source and destination: 8 bytes of hash each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct QueueKey(pub(super) [u8; 16]);

impl QueueKey {
    pub(super) fn new(source: SourceHash, destination: &str) -> Self {
        Self(join(&[&source.0, &short_hash(destination.as_bytes())]))
    }

    pub(super) fn of(queue: &Queue) -> Self {
        Self::new(queue.source.hash(), &queue.name)
    }
}

pub(super) use crate::records::{Lane, lane};

pub(super) fn log(event: EventId) -> [u8; 16] {
    let id = event.to_bytes();
    join(&[&id[8..], &id[..8]])
}

/// The first key a source can have in a day's log at or after `millis`.
pub(super) fn log_from(source: SourceHash, millis: Millis) -> [u8; 16] {
    log(EventId { millis, sequence: 0, source })
}

/// The last key a source can have in any log.
pub(super) fn log_end(source: SourceHash) -> [u8; 16] {
    join(&[&source.0, &[0xff; 8]])
}

/// The event a log key belongs to; `None` when it is no log key.
pub(super) fn event_of(key: &[u8]) -> Option<EventId> {
    let key: [u8; 16] = key.try_into().ok()?;
    Some(EventId::from_bytes(join(&[&key[8..], &key[..8]])))
}

/// The action of an event whose key ends with these bytes, of run and index.
pub(super) fn action_of(event: EventId, [a, b, c, d]: [u8; 4]) -> ActionId {
    ActionId { event, run: u16::from_be_bytes([a, b]), index: u16::from_be_bytes([c, d]) }
}

pub(super) fn action(id: ActionId) -> [u8; 20] {
    join(&[&log(id.event), &id.run.to_be_bytes(), &id.index.to_be_bytes()])
}

pub(super) fn state(id: ActionId) -> [u8; 21] {
    join(&[&action(id), &[STATE]])
}

pub(super) fn place(queue: QueueKey, lane: Lane) -> [u8; 24] {
    join(&[&queue.0, &lane])
}

pub(super) fn in_lane(queue: QueueKey, lane: Lane, seq: u64) -> [u8; 32] {
    join(&[&queue.0, &lane, &seq.to_be_bytes()])
}

pub(super) fn ready(queue: QueueKey, seq: u64) -> [u8; 24] {
    join(&[&queue.0, &seq.to_be_bytes()])
}

pub(super) fn delayed(queue: QueueKey, due: Millis, seq: u64) -> [u8; 32] {
    join(&[&queue.0, &due.to_be_bytes(), &seq.to_be_bytes()])
}

pub(super) fn dead(id: ActionId) -> [u8; 28] {
    join(&[&id.event.source.0, &id.to_bytes()])
}

/// What begins the keys of an event's actions among the failed and dead.
pub(super) fn dead_of(event: EventId) -> [u8; 24] {
    join(&[&event.source.0, &event.to_bytes()])
}

/// A replay of an event.
pub(super) fn run(event: EventId, run: u16) -> [u8; 18] {
    join(&[&log(event), &run.to_be_bytes()])
}

pub(super) fn directory(source: SourceHash, key: &[u8]) -> Vec<u8> {
    [&source.0, key].concat()
}

pub(super) fn change(source: SourceHash, revision: u64) -> [u8; 16] {
    join(&[&source.0, &revision.to_be_bytes()])
}

/// The 8 bytes from `at`, as a number; 0 when the key is too short.
pub(super) fn number(key: &[u8], at: usize) -> u64 {
    let bytes = key.get(at..at + 8).and_then(|part| part.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// Parts one after the other; their lengths add up to `N`.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut joined = [0; N];
    let mut at = 0;
    for part in parts {
        joined[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N);
    joined
}

#[cfg(test)]
mod tests {
    use segment_source_core::{event::EventId, source::SourceHash};

    use super::{action, day, dead, delayed, event_of, log, log_end, log_from, number, state};
    use crate::embedded::keys::{ActionId, QueueKey};

    const EVENT: EventId = EventId { millis: 0x0102, sequence: 3, source: SourceHash([9; 8]) };
    const ACTION: ActionId = ActionId { event: EVENT, run: 1, index: 2 };

    #[test]
    fn keys_are_laid_out_as_documented() {
        let event = [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 1, 2, 0, 3];
        assert_eq!(log(EVENT), event);
        assert_eq!(event_of(&event), Some(EVENT));
        assert_eq!(action(ACTION)[16..], [0, 1, 0, 2]);
        assert_eq!(state(ACTION)[20..], *b"s");
        assert_eq!(dead(ACTION)[8..], ACTION.to_bytes());
        assert_eq!(number(&delayed(QueueKey([7; 16]), 5, 6), 16), 5);
        assert_eq!(number(&delayed(QueueKey([7; 16]), 5, 6), 24), 6);
    }

    #[test]
    fn a_source_sorts_by_acceptance_between_its_bounds() {
        assert!(log_from(EVENT.source, 0x0102) <= log(EVENT));
        assert!(log(EVENT) < log_from(EVENT.source, 0x0103));
        assert!(log_from(EVENT.source, u64::MAX >> 16) < log_end(EVENT.source));
        assert!(log_end(EVENT.source) < log_from(SourceHash([10; 8]), 0));
    }

    #[test]
    fn days_begin_at_midnight_utc() {
        assert_eq!((day(0), day(86_399_999), day(86_400_000)), (0, 0, 1));
    }
}
