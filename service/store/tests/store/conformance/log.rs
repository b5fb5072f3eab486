//! Reading the log: ranges, directions, and waiting for what comes.

use std::{future::poll_fn, task::Poll};

use segment_source_core::event::EventId;
use segment_source_store::{LogEntry, LogRange, NewAction};

use crate::harness::{
    Fixture, HOUR, NewEventExt as _, START, action, event, new, other_source, plan, source,
};

fn all() -> LogRange {
    LogRange { source: source(), before: None, since: None, until: None }
}

fn ids(entries: Vec<LogEntry>) -> Vec<EventId> {
    entries.into_iter().map(|entry| entry.id).collect()
}

/// Entries of four days, of which the third has none; the newest first.
async fn four_days(fixture: &Fixture) -> Vec<EventId> {
    let mut ids = Vec::new();
    for hours in [0, 0, 24, 48] {
        fixture.pass(hours * HOUR);
        ids.insert(0, new(fixture.accept(event()).await));
        fixture.accept(event().of_source(other_source())).await;
    }
    ids
}

#[tokio::test]
async fn a_range_is_read_newest_first() {
    let fixture = Fixture::new().await;
    let four = four_days(&fixture).await;
    let fixture = fixture.reopen().await;
    let read =
        async |range: LogRange, limit| ids(fixture.store.read_log(range, limit).await.unwrap());
    assert_eq!(read(all(), 9).await, four);
    assert_eq!(read(all(), 3).await, four[..3]);
    assert_eq!(read(all(), 0).await, []);
    assert_eq!(read(LogRange { before: Some(four[0]), ..all() }, 9).await, four[1..]);
    assert_eq!(read(LogRange { before: Some(four[2]), ..all() }, 9).await, four[3..]);
    let second_day = START + 24 * 3_600_000;
    assert_eq!(read(LogRange { since: Some(second_day), ..all() }, 9).await, four[..2]);
    assert_eq!(read(LogRange { since: Some(second_day + 1), ..all() }, 9).await, four[..1]);
    assert_eq!(read(LogRange { until: Some(second_day), ..all() }, 9).await, four[2..]);
    assert_eq!(read(LogRange { until: Some(second_day + 1), ..all() }, 9).await, four[1..]);
    let between = LogRange { since: Some(START + 1), until: Some(second_day + 1), ..all() };
    assert_eq!(read(between, 9).await, four[1..2]);
    let none = LogRange { since: Some(second_day), until: Some(START), ..all() };
    assert_eq!(read(none, 9).await, []);
    let none = LogRange { source: "prod/none".parse().unwrap(), ..all() };
    assert_eq!(read(none, 9).await, []);
}

#[tokio::test]
async fn an_entry_is_found_by_its_id_alone() {
    let fixture = Fixture::new().await;
    let sent = event().of_source(other_source()).of_user("u").keyed("k");
    let id = new(fixture.accept(sent.clone()).await);
    let entry = fixture.entry(id).await;
    assert_eq!((entry.id, entry.source, entry.event), (id, other_source(), sent.event));
    for missing in [EventId { sequence: 9, ..id }, EventId { millis: 5, ..id }] {
        assert!(fixture.store.event(missing).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn new_entries_are_waited_for() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event()).await);
    let source = source();
    let mut tail = Box::pin(fixture.store.next_events(&source, None, 9));
    // The first poll takes note of what is there already.
    let polled = poll_fn(|cx| Poll::Ready(tail.as_mut().poll(cx).is_pending())).await;
    assert!(polled);
    fixture.accept(event().of_source(other_source())).await;
    let second = new(fixture.accept(event()).await);
    assert_eq!(ids(tail.await.unwrap()), [second]);
    let both = fixture.store.next_events(&source, Some(EventId { millis: 0, ..first }), 9);
    assert_eq!(ids(both.await.unwrap()), [first, second]);
    let one = fixture.store.next_events(&source, Some(first), 1).await.unwrap();
    assert_eq!(ids(one), [second]);
}

/// Else a page of the log would have everything in memory that large events were made into.
#[tokio::test]
async fn a_page_ends_early_when_its_actions_are_large() {
    let fixture = Fixture::new().await;
    for _ in 0..6 {
        let id = new(fixture.accept(event()).await);
        let large = NewAction { rendered: Ok(vec![b'x'; 3 << 20].into()), ..action("a") };
        fixture.store.plan(&source(), vec![plan(id, vec![large])]).await.unwrap();
    }
    let page = fixture.store.read_log(all(), 100).await.unwrap();
    assert_eq!(page.len(), 2);
    let before = page.last().map(|entry| entry.id);
    let next = fixture.store.read_log(LogRange { before, ..all() }, 100).await.unwrap();
    assert_eq!(next.len(), 2);
    let after = next.last().map(|entry| entry.id);
    assert_eq!(fixture.store.next_events(&source(), after, 100).await.unwrap().len(), 2);
}
