//! Directories: writing by comparing revisions, reading, and following changes.

use bytes::Bytes;
use segment_source_store::{DirectoryRecord, DirectoryWrite, Written};

use crate::harness::{Fixture, other_source, source};

fn write(key: &str, expected: Option<u64>, value: Option<&str>) -> DirectoryWrite {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    DirectoryWrite { key: Bytes::copy_from_slice(key.as_bytes()), expected, value }
}

fn entry(key: &str, revision: u64, value: &str) -> (Bytes, DirectoryRecord) {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    (bytes(key), DirectoryRecord { revision, value: bytes(value) })
}

async fn done(fixture: &Fixture, writes: Vec<DirectoryWrite>) -> Vec<u64> {
    let written = fixture.store.directory_write(&source(), writes).await.unwrap();
    let revision = |written| match written {
        Written::Done(revision) => revision,
        Written::Conflict => panic!("a conflict"),
    };
    written.into_iter().map(revision).collect()
}

async fn changes(fixture: &Fixture, after: u64) -> Vec<(Bytes, DirectoryRecord)> {
    fixture.store.directory_changes(&source(), after, 99).await.unwrap()
}

#[tokio::test]
async fn a_write_takes_place_only_if_the_entry_is_as_expected() {
    let fixture = Fixture::new().await;
    let writes = vec![
        write("a", None, Some("1")),
        write("a", None, Some("2")),
        write("b", Some(1), Some("2")),
        write("c", None, Some("3")),
    ];
    let written = fixture.store.directory_write(&source(), writes).await.unwrap();
    let [Written::Done(a), Written::Conflict, Written::Conflict, Written::Done(c)] = written[..]
    else {
        panic!("{written:?}")
    };
    assert!(a < c);
    // A later one of a call sees an earlier one.
    let twice = vec![write("a", Some(a), Some("2")), write("a", Some(c + 1), Some("3"))];
    let revisions = done(&fixture, twice).await;
    assert_eq!(revisions, [c + 1, c + 2]);
    let fixture = fixture.crash().await;
    let keys = ["a", "b", "c"].map(|key| Bytes::copy_from_slice(key.as_bytes())).to_vec();
    let read = fixture.store.directory(&source(), keys.clone()).await.unwrap();
    let (a, c) = (entry("a", c + 2, "3").1, entry("c", c, "3").1);
    assert_eq!(read, [Some(a), None, Some(c)]);
    assert_eq!(fixture.store.directory(&other_source(), keys).await.unwrap(), [None, None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_that_expect_the_same_one_wins() {
    let fixture = Fixture::new().await;
    let writers = (0..32).map(|n: u32| {
        let store = fixture.store.clone();
        tokio::spawn(async move {
            let writes = vec![write("a", None, Some(&n.to_string()))];
            store.directory_write(&source(), writes).await.unwrap()[0]
        })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        won += usize::from(matches!(writer.await.unwrap(), Written::Done(_)));
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_scan_reads_a_prefix_in_pages() {
    let fixture = Fixture::new().await;
    let keys = ["a", "ab", "b1", "b2", "b3", "c"];
    done(&fixture, keys.map(|key| write(key, None, Some(key))).to_vec()).await;
    let others = vec![write("b4", None, Some("x"))];
    fixture.store.directory_write(&other_source(), others).await.unwrap();
    let scan = async |prefix: &'static str, after: Option<&'static str>, limit| {
        let after = after.map(|after| Bytes::from_static(after.as_bytes()));
        let prefix = Bytes::from_static(prefix.as_bytes());
        let (entries, newest) =
            fixture.store.directory_scan(&source(), prefix, after, limit).await.unwrap();
        assert_eq!(newest, 6);
        entries
            .into_iter()
            .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(scan("", None, 9).await, keys);
    assert_eq!(scan("b", None, 2).await, ["b1", "b2"]);
    assert_eq!(scan("b", Some("b2"), 2).await, ["b3"]);
    assert_eq!(scan("b", Some("a"), 1).await, ["b1"]);
    assert_eq!(scan("b", Some("c"), 9).await, [""; 0]);
    assert_eq!(scan("d", None, 9).await, [""; 0]);
}

#[tokio::test]
async fn changes_tell_each_entry_once_with_its_newest_revision() {
    let fixture = Fixture::new().await;
    assert_eq!(changes(&fixture, 0).await, []);
    let first = done(&fixture, ["a", "b", "c"].map(|key| write(key, None, Some("1"))).to_vec());
    let first = first.await;
    let [again] = done(&fixture, vec![write("a", Some(first[0]), Some("2"))]).await[..] else {
        panic!("not one")
    };
    let expected = [entry("b", first[1], "1"), entry("c", first[2], "1"), entry("a", again, "2")];
    assert_eq!(changes(&fixture, 0).await, expected);
    assert_eq!(changes(&fixture, first[1]).await, expected[1..]);
    assert_eq!(fixture.store.directory_changes(&source(), 0, 2).await.unwrap(), expected[..2]);
    assert_eq!(changes(&fixture, again).await, []);
    // What is removed leaves no trace, and its revision does not come again.
    let removals = vec![write("a", Some(again), None), write("b", Some(first[1]), None)];
    let removed = done(&fixture, removals).await;
    assert!(removed[0] > again && removed[1] > removed[0]);
    let fixture = fixture.reopen().await;
    assert_eq!(changes(&fixture, 0).await, expected[1..2]);
    let back = done(&fixture, vec![write("a", None, Some("3"))]).await;
    assert!(back[0] > removed[1]);
    let everything_gone = vec![write("a", Some(back[0]), None), write("c", Some(first[2]), None)];
    let last = done(&fixture, everything_gone).await[1];
    let fixture = fixture.crash().await;
    assert_eq!(changes(&fixture, 0).await, []);
    assert!(done(&fixture, vec![write("z", None, Some(""))]).await[0] > last);
}

#[tokio::test]
async fn those_who_follow_hear_of_changes() {
    let fixture = Fixture::new().await;
    let changed = fixture.store.directory_changed(&source());
    done(&fixture, vec![write("a", None, Some("1"))]).await;
    changed.await;
    let changed = fixture.store.directory_changed(&source());
    let others = vec![write("a", None, Some("1"))];
    fixture.store.directory_write(&other_source(), others).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), changed).await;
    assert!(waited.is_err());
}
