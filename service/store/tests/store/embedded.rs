//! What only the embedded store promises: one process, its format, the disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use proptest::{prelude::*, test_runner::TestRunner};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use segment_source_store::{
    Accepted, Clock, LogRange, Retain, Settled, Settlement, StoreError,
    embedded::{OpenError, Options, Store},
};

use crate::harness::{
    DAY, Fixture, LEASE, NewEventExt as _, START, TICK, ack, action, event, millis, new, original,
    plan, queue, source,
};

#[tokio::test]
async fn a_folder_belongs_to_one_store() {
    let fixture = Fixture::embedded().await;
    let dir = fixture.dir().to_owned();
    let error = Store::open(&dir, Options::default(), fixture.clock()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
    fixture.store.close().await;
    Store::open(&dir, Options::default(), fixture.clock()).unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let fixture = Fixture::embedded().await;
    let id = new(fixture.accept(event().keyed("a")).await);
    fixture.store.close().await;
    let dir = fixture.dir().to_owned();
    let set_format = |format: u32| {
        let db = Database::builder(&dir).open().unwrap();
        let meta = db.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        meta.insert("format", format.to_be_bytes()).unwrap();
        db.persist(PersistMode::SyncAll).unwrap();
    };
    set_format(9);
    let error = Store::open(&dir, Options::default(), fixture.clock()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, supported: 1, .. }), "{error}");
    set_format(1);
    let fixture = fixture.crash().await;
    assert_eq!(original(fixture.accept(event().keyed("a")).await), id);
}

#[tokio::test]
async fn what_is_no_folder_is_refused_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let clock = segment_source_store::system_clock();
    let error = Store::open(file.path(), Options::default(), clock).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}

/// Days without entries take no files, and a day that was half removed by a crash goes when the
/// store is opened.
#[tokio::test]
async fn days_of_which_everything_is_removed_are_dropped() {
    let fixture = Fixture::embedded().await;
    for _ in 0..3 {
        fixture.planned("u", 0).await;
        fixture.pass(DAY);
    }
    let last = fixture.planned("u", 1).await;
    let keep = Retain { before: fixture.now(), bytes: None };
    assert_eq!(fixture.store.retain(&source(), keep).await.unwrap().events, 3);
    fixture.store.close().await;
    let dir = fixture.dir().to_owned();
    let days = |make: Option<&str>| {
        let db = Database::builder(&dir).open().unwrap();
        if let Some(name) = make {
            db.keyspace(name, KeyspaceCreateOptions::default).unwrap();
            db.persist(PersistMode::SyncAll).unwrap();
        }
        let names = db.list_keyspace_names();
        let mut days: Vec<_> = names.into_iter().filter(|name| name.contains("-2")).collect();
        days.sort();
        days.into_iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    let day = last.millis / 86_400_000;
    let left = [format!("actions-{day}"), format!("log-{day}")];
    assert_eq!(days(None), left);
    assert_eq!(days(Some(&format!("actions-{}", day - 1))).len(), 3);
    let fixture = fixture.crash().await;
    assert_eq!(fixture.take_one().await.action.event, last);
    fixture.store.close().await;
    assert_eq!(days(None), left);
}

/// With a reserve between what is free and twice that, the condition of a disk that is nearly full
/// is there without filling one.
#[tokio::test]
async fn a_nearly_full_disk_takes_no_events_but_lets_work_drain() {
    let fixture = Fixture::embedded().await;
    fixture.planned("u", 1).await;
    let waiting = new(fixture.accept(event()).await);
    let stat = rustix::fs::statvfs(fixture.dir()).unwrap();
    let reserve = stat.f_bavail * stat.f_frsize / 2 * 3;
    let fixture = fixture.open_again(Options { reserve, ..Options::default() });
    let refused = fixture.store.accept(vec![event()]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { reserve: kept, .. } if kept == reserve));
    fixture.store.plan(&source(), vec![plan(waiting, vec![action("a")])]).await.unwrap();
    for _ in 0..2 {
        let lease = fixture.take_one().await;
        assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
    }
    // Fuller still: planning must not take the room that settling needs.
    let fixture = fixture.reopen().await;
    let waiting = fixture.planned("v", 1).await;
    let fixture = fixture.open_again(Options { reserve: 2 * reserve, ..Options::default() });
    let refused = fixture.store.plan(&source(), vec![plan(waiting, vec![])]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }));
    let lease = fixture.take_one().await;
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
    let fixture = fixture.open_again(Options { reserve: u64::MAX, ..Options::default() });
    let refused = fixture.store.plan(&source(), vec![]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }));
    let fixture = fixture.reopen().await;
    fixture.accept(event()).await;
}

/// Else it would be done again and again, as often as its lease ends.
#[tokio::test]
async fn what_cannot_be_settled_is_not_given_out() {
    let fixture = Fixture::embedded().await;
    fixture.planned("u", 1).await;
    let fixture = fixture.open_again(Options { reserve: u64::MAX, ..Options::default() });
    let refused = fixture.store.take(&queue(), 1, LEASE).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    // As soon as there is room it goes on, and nothing was counted as an attempt.
    let fixture = fixture.reopen().await;
    let lease = fixture.take_one().await;
    assert_eq!(lease.attempt, 1);
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
}

/// Folders of before sizes were counted: their logs must not count as empty.
#[tokio::test]
async fn the_size_of_a_log_that_nobody_counted_is_found_when_it_is_opened() {
    let fixture = Fixture::embedded().await;
    for _ in 0..20 {
        fixture.planned("u", 0).await;
        let large = event().change(|one| one.event.body = vec![b'x'; 10_000].into());
        let large = new(fixture.accept(large).await);
        fixture.store.plan(&source(), vec![plan(large, vec![action("a")])]).await.unwrap();
        let lease = fixture.take_one().await;
        fixture.settle(&lease, ack()).await;
        fixture.pass(DAY / 4);
    }
    fixture.store.close().await;
    let dir = fixture.dir().to_owned();
    let size = |forget: bool| {
        let db = Database::builder(&dir).open().unwrap();
        let sizes = db.keyspace("sizes", KeyspaceCreateOptions::default).unwrap();
        let size = sizes.get(source().hash().0).unwrap().map(|size| size.to_vec());
        if forget {
            sizes.remove(source().hash().0).unwrap();
            db.persist(PersistMode::SyncAll).unwrap();
        }
        size
    };
    assert!(size(true).is_some());
    let fixture = fixture.crash().await;
    let keep = Retain { before: 0, bytes: Some(100_000) };
    let removed = fixture.store.retain(&source(), keep).await.unwrap();
    assert!((18..=24).contains(&removed.events), "{removed:?}");
    // What is found is what was counted.
    fixture.store.close().await;
    let counted = size(true);
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.retain(&source(), keep).await.unwrap().events, 0);
    fixture.store.close().await;
    assert_eq!(size(false), counted);
}

const ALONE: &str = "STORE_TEST_ALONE";

/// Lets every write to a file fail, as on a full disk, by the process's limit of file sizes. So it
/// needs a process of its own, in which the signal that goes with it is ignored.
#[test]
fn a_failing_disk_loses_nothing_and_heals() {
    if std::env::var_os(ALONE).is_none() {
        let test = "embedded::a_failing_disk_loses_nothing_and_heals";
        let alone = std::process::Command::new("sh")
            .args(["-c", r#"trap "" XFSZ; exec "$0" --exact "$1" --nocapture"#])
            .args([std::env::current_exe().unwrap().as_os_str(), test.as_ref()])
            .env(ALONE, "yes")
            .output()
            .unwrap();
        let said = [alone.stdout, alone.stderr].map(|out| String::from_utf8(out).unwrap());
        assert!(alone.status.success(), "{}{}", said[0], said[1]);
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(fail_and_heal());
}

async fn fail_and_heal() {
    let fixture = Fixture::embedded().await;
    let mut ids = vec![fixture.planned("u", 1).await];
    for key in 0..100 {
        ids.push(new(fixture.accept(event().keyed(&key.to_string())).await));
    }
    let lease = fixture.take_one().await;
    let before = limit_file_size(Some(0));
    let unanswered = event().keyed("100");
    for _ in 0..3 {
        let refused = fixture.store.accept(vec![unanswered.clone()]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    }
    let refused = fixture.store.take(&queue(), 1, LEASE).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    limit_file_size(before);
    let healed = async {
        loop {
            match fixture.store.accept(vec![unanswered.clone()]).await {
                Ok(accepted) => break accepted,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let accepted = tokio::time::timeout(Duration::from_secs(60), healed).await.unwrap();
    ids.push(new(accepted[0]));
    // Everything that was answered is there, once, also after the next start.
    let fixture = fixture.crash().await;
    let range = LogRange { source: source(), before: None, since: None, until: None };
    let entries = fixture.store.read_log(range, 1000).await.unwrap();
    ids.reverse();
    assert_eq!(entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
    assert_eq!(original(fixture.accept(event().keyed("100")).await), ids[0]);
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    assert_eq!(fixture.take_one().await.action, lease.action);
}

/// Sets the soft limit, and returns what it was.
fn limit_file_size(bytes: Option<u64>) -> Option<u64> {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes, ..before }).unwrap();
    before.current
}

/// What has a lease is under way, whatever the clock on the wall is set to meanwhile.
#[tokio::test]
async fn a_clock_that_steps_ends_no_lease() {
    let dir = tempfile::tempdir().unwrap();
    let (wall, passed) = (Arc::new(AtomicU64::new(START)), Arc::new(AtomicU64::new(0)));
    let clock = |time: &Arc<AtomicU64>| -> Clock {
        let time = time.clone();
        Arc::new(move || time.load(SeqCst))
    };
    let options = Options { reserve: 0, ..Options::default() };
    let store = Store::open_with(dir.path(), options, clock(&wall), clock(&passed)).unwrap();
    let store = segment_source_store::Store::from(store);
    let id = new(store.accept(vec![event()]).await.unwrap()[0]);
    store.plan(&source(), vec![plan(id, vec![action("a")])]).await.unwrap();
    let take = async || store.take(&queue(), 9, LEASE).await.unwrap().leases;
    let first = take().await.remove(0);
    assert_eq!(first.expires, START + millis(LEASE));
    wall.fetch_add(millis(DAY), SeqCst);
    assert_eq!(take().await.len(), 0);
    let until = START + millis(DAY) + millis(LEASE);
    let extended = store.settle(vec![(first.token, Settlement::Extend(LEASE))]).await.unwrap();
    assert_eq!(extended, [Settled::Extended(until)]);
    // Nor does it live longer when the clock is set back.
    wall.fetch_sub(millis(2 * DAY), SeqCst);
    passed.store(millis(LEASE) - 1, SeqCst);
    assert_eq!(take().await.len(), 0);
    passed.store(millis(LEASE), SeqCst);
    let second = take().await.remove(0);
    assert_eq!((second.action, second.attempt), (first.action, 2));
    assert_eq!(store.settle(vec![(second.token, ack())]).await.unwrap(), [Settled::Done]);
}

#[test]
fn a_copy_is_a_duplicate_exactly_inside_the_window() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = runtime.block_on(Fixture::embedded());
    let window = 60_000_u64..2_592_000_000;
    let gap = prop_oneof![0_u64..3, 0_u64..2_592_000_000];
    let mut runner = TestRunner::default();
    let checked = runner.run(&(window, gap, any::<bool>()), |(window, gap, before)| {
        // Each case has a key of its own.
        let key = fixture.now().to_string();
        let copy = || event().keyed(&key).window(Duration::from_millis(window));
        runtime.block_on(fixture.accept(copy()));
        let passed = if before { window.saturating_sub(gap) } else { window + gap };
        fixture.pass(Duration::from_millis(passed));
        let again = runtime.block_on(fixture.accept(copy()));
        fixture.pass(TICK);
        prop_assert_eq!(matches!(again, Accepted::Duplicate { .. }), passed < window);
        Ok(())
    });
    checked.unwrap();
}
