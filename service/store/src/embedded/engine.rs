//! fjall, set up for this store: keyspaces, sizes, format, expiry of claims, and what it takes to
//! live with an engine that has failed. Layouts are in [`super::keys`].

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    compaction::filter::{
        CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
    },
};

use super::{
    OpenError, Options,
    keys::{self, Space},
};
use crate::{
    contract::{Clock, Millis},
    fault::Fault,
};

/// A memtable of a keyspace with events or payloads.
const LARGE_MEMTABLE: u64 = 16 << 20;
/// A memtable of any other keyspace.
const SMALL_MEMTABLE: u64 = 4 << 20;
/// Sealed journals beyond this make the engine flush what holds them; with the active one, at most
/// about twice as much is read again at start. The engine's lowest value.
const JOURNALS: u64 = 64 << 20;
/// Values from this size on are written once and not again by each compaction.
const SEPARATE_FROM: u32 = 512;
/// Claims are removed this long after they expired, so that a clock that was ahead for a moment
/// takes none away.
const CLAIM_GRACE: Millis = 60 * 60 * 1000;
/// Bytes that one look at the disk gathers, and what goes beyond.
pub(super) const LOOK_BYTES: usize = 4 << 20;

/// An open store folder. Everybody who uses it holds it by an [`Arc`] for one operation only, so
/// that it can be closed and opened anew under a running store.
pub(super) struct Engine {
    db: Database,
    spaces: [Keyspace; Space::ALL.len()],
    days: RwLock<BTreeMap<u64, Day>>,
    dir: PathBuf,
}

/// The keyspaces of one day; see [`keys::LOG_PREFIX`].
#[derive(Clone)]
pub(super) struct Day {
    pub(super) log: Keyspace,
    pub(super) actions: Keyspace,
}

impl Engine {
    /// Blocks. Creates what is missing.
    pub(super) fn open(dir: &Path, options: &Options, clock: &Clock) -> Result<Self, OpenError> {
        let failed = |fault: fjall::Error| OpenError::from_engine(dir, fault);
        let claims = Arc::new(Expiry(AssertUnwindSafe(clock.clone())));
        let db = Database::builder(dir)
            .cache_size(options.cache)
            .max_journaling_size(JOURNALS)
            // More than one keeps a core busy while another compacts.
            .worker_threads(1)
            .with_compaction_filter_factories(Arc::new(move |name| {
                (name == Space::Claims.name()).then(|| claims.clone() as Arc<dyn Factory>)
            }))
            .open()
            .map_err(failed)?;
        let meta = db.keyspace(Space::Meta.name(), small).map_err(failed)?;
        check_format(dir, &db, &meta)?;
        let mut spaces = Vec::with_capacity(Space::ALL.len());
        for space in Space::ALL {
            let options = if space == Space::Directory { large } else { small };
            spaces.push(db.keyspace(space.name(), options).map_err(failed)?);
        }
        let Ok(spaces) = spaces.try_into() else {
            return Err(OpenError::from_engine(dir, fjall::Error::Unrecoverable));
        };
        let engine = Self { db, spaces, days: RwLock::default(), dir: dir.to_owned() };
        let names = engine.db.list_keyspace_names();
        let days = |prefix| {
            let days = names.iter().filter_map(move |name| name.strip_prefix(prefix));
            days.filter_map(|day| day.parse().ok()).collect::<BTreeSet<u64>>()
        };
        let (logs, actions) = (days(keys::LOG_PREFIX), days(keys::ACTIONS_PREFIX));
        for day in &logs {
            engine.create_day(*day).map_err(failed)?;
        }
        for day in actions.difference(&logs) {
            let name = format!("{}{day}", keys::ACTIONS_PREFIX);
            let left = engine.db.keyspace(&name, large).map_err(failed)?;
            engine.db.delete_keyspace(left).map_err(failed)?;
        }
        let past: Vec<_> = logs.into_iter().collect();
        let empty = engine.empty_days(&past);
        let dropped = empty.and_then(|empty| engine.drop_days(&empty));
        dropped.map_err(|fault| OpenError::from_fault(dir, fault))?;
        Ok(engine)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    /// 32 random bytes that stay the same for as long as the folder lives.
    pub(super) fn fingerprint_key(&self) -> Result<[u8; 32], Fault> {
        let stored = self.space(Space::Meta).get(keys::FINGERPRINT_KEY)?;
        let stored = stored.as_deref().and_then(|key| key.try_into().ok());
        stored.ok_or(Fault::damaged("the fingerprint key"))
    }

    /// The keyspaces of a day, if it has any.
    pub(super) fn day(&self, millis: Millis) -> Option<Day> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        days.get(&keys::day(millis)).cloned()
    }

    pub(super) fn has_day(&self, number: u64) -> bool {
        self.days.read().unwrap_or_else(PoisonError::into_inner).contains_key(&number)
    }

    /// As [`Engine::day_number`], of a moment.
    pub(super) fn day_or_create(&self, millis: Millis) -> Result<Day, Fault> {
        self.day_number(keys::day(millis))
    }

    /// The keyspaces of a day by its number, made now when it has none. Only the writer calls it.
    pub(super) fn day_number(&self, number: u64) -> Result<Day, Fault> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(day) = days.get(&number) {
            return Ok(day.clone());
        }
        drop(days);
        Ok(self.create_day(number)?)
    }

    /// Of these days, those that have no entry any more, nor will have: the days of the past get no
    /// new ones, and the newest day is never among them.
    pub(super) fn empty_days(&self, numbers: &[u64]) -> Result<Vec<u64>, Fault> {
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner).clone();
        let newest = days.last_key_value().map(|(newest, _)| *newest);
        let mut empty = Vec::new();
        for number in numbers.iter().filter(|number| Some(**number) < newest) {
            let Some(day) = days.get(number) else { continue };
            let first = day.log.first_key_value().or_else(|| day.actions.first_key_value());
            if first.map(fjall::Guard::key).transpose()?.is_none() {
                empty.push(*number);
            }
        }
        Ok(empty)
    }

    /// Removes the keyspaces of days that are empty. Only the writer calls it.
    pub(super) fn drop_days(&self, numbers: &[u64]) -> Result<(), Fault> {
        for number in numbers {
            let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
            let Some(Day { log, actions }) = days.remove(number) else { continue };
            drop(days);
            // The log goes first; open() removes actions that have none.
            self.db.delete_keyspace(log)?;
            self.db.delete_keyspace(actions)?;
        }
        Ok(())
    }

    /// The days between two moments that have keyspaces, oldest first.
    pub(super) fn days(&self, from: Millis, until: Millis) -> Vec<Day> {
        if from > until {
            return Vec::new();
        }
        let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
        days.range(keys::day(from)..=keys::day(until)).map(|(_, day)| day.clone()).collect()
    }

    fn create_day(&self, number: u64) -> Result<Day, fjall::Error> {
        let open = |prefix| self.db.keyspace(&format!("{prefix}{number}"), large);
        // The log comes last: open() takes its name as the sign that the day is there.
        let actions = open(keys::ACTIONS_PREFIX)?;
        let day = Day { log: open(keys::LOG_PREFIX)?, actions };
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        days.insert(number, day.clone());
        Ok(day)
    }

    /// What is committed now, in all keyspaces; it does not see half of a commit.
    pub(super) fn snapshot(&self) -> fjall::Snapshot {
        self.db.snapshot()
    }

    pub(super) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.db.batch()
    }

    /// Waits until the engine can take a commit without making it wait inside, where nothing would
    /// wake it up if flushing failed meanwhile. The limits lie below the engine's own.
    pub(super) fn make_room<'a>(
        &self,
        touched: impl Iterator<Item = &'a Keyspace>,
    ) -> Result<(), Fault> {
        for keyspace in touched {
            while keyspace.sealed_memtable_count() >= 3 || keyspace.l0_table_count() >= 19 {
                self.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Whether the engine still takes writes.
    fn check(&self) -> Result<(), Fault> {
        Ok(self.db.persist(PersistMode::Buffer)?)
    }

    /// Brings the journal to disk, whatever was written with less care.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    /// Writes everything that was recovered from the journal into tables, and syncs them. After a
    /// failed sync the journal can be read back from memory although the disk does not have it;
    /// nothing that rests on such a record may be answered before it is written again.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        let days = self.days(0, Millis::MAX);
        let days = days.iter().flat_map(|day| [&day.log, &day.actions]);
        for keyspace in self.spaces.iter().chain(days) {
            keyspace.rotate_memtable()?;
            while keyspace.sealed_memtable_count() > 0 {
                self.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// Refuses a newer format; a new folder gets format and fingerprint key, on disk before anything
/// else is.
fn check_format(dir: &Path, db: &Database, meta: &Keyspace) -> Result<(), OpenError> {
    let failed = |fault: fjall::Error| OpenError::from_engine(dir, fault);
    if let Some(format) = meta.get(keys::FORMAT_KEY).map_err(failed)? {
        let found = format.as_ref().try_into().map_or(u32::MAX, u32::from_be_bytes);
        return match found {
            ..=keys::FORMAT => Ok(()),
            _ => Err(OpenError::Newer { dir: dir.to_owned(), found, supported: keys::FORMAT }),
        };
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| failed(std::io::Error::other(error.to_string()).into()))?;
    let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(meta, keys::FORMAT_KEY, keys::FORMAT.to_be_bytes());
    batch.insert(meta, keys::FINGERPRINT_KEY, key);
    batch.commit().map_err(failed)
}

fn small() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE)
}

fn large() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(LARGE_MEMTABLE).with_kv_separation(Some(
        KvSeparationOptions::default().separation_threshold(SEPARATE_FROM),
    ))
}

/// Drops claims that are over whenever the engine compacts them.
struct Expiry(AssertUnwindSafe<Clock>);

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expired claims"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(ExpiredBefore((self.0)().saturating_sub(CLAIM_GRACE)))
    }
}

struct ExpiredBefore(Millis);

impl CompactionFilter for ExpiredBefore {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        // A claim begins with the moment at which it is over.
        let expired = keys::number(&item.value()?, 0) <= self.0;
        Ok(if expired { Verdict::Remove } else { Verdict::Keep })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use segment_source_core::event::EventId;

    use super::{CLAIM_GRACE, Engine, Options, Space};
    use crate::{Receipt, embedded::stored::Claim};

    #[test]
    fn compaction_drops_claims_that_are_long_over() {
        let dir = tempfile::tempdir().unwrap();
        let now = 10 * CLAIM_GRACE;
        let options = Options::default();
        let engine = Engine::open(dir.path(), &options, &(Arc::new(move || now) as _)).unwrap();
        let claims = engine.space(Space::Claims);
        let event = EventId::from_bytes([0; 16]);
        for (key, expires) in [("over", now - CLAIM_GRACE), ("kept", now - CLAIM_GRACE + 1)] {
            let claim = Claim { expires, event, receipt: Receipt([0; 16]) };
            claims.insert(key, claim.to_bytes()).unwrap();
        }
        engine.flush().unwrap();
        claims.major_compact().unwrap();
        let kept: Vec<_> = claims.iter().map(|stored| stored.key().unwrap()).collect();
        assert_eq!(kept, ["kept"]);
    }
}
