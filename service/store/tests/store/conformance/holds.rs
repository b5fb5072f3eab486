//! Holds of destinations, and what is remembered of them.

use segment_source_core::source::DestinationId;
use segment_source_store::{Hold, HoldLedger};

use crate::harness::{DAY, Fixture, HOUR, START, millis, queue};

fn by_hand(since: u64) -> Hold {
    Hold { since, until: None, refused: false, reason: "by hand".into() }
}

fn refused(since: u64) -> Hold {
    Hold { refused: true, reason: "401".into(), ..by_hand(since) }
}

#[tokio::test]
async fn a_hold_outlives_the_process_and_is_remembered_when_it_ends() {
    let fixture = Fixture::new();
    let ledger = |fixture: &Fixture| fixture.store.hold_ledger(&queue()).unwrap();
    assert_eq!(ledger(&fixture), HoldLedger::default());
    assert_eq!(fixture.store.end_hold(&queue(), false).await.unwrap(), None);
    let bell = fixture.store.ready(&queue());
    fixture.store.hold(&queue(), by_hand(START)).await.unwrap();
    bell.await;
    let fixture = fixture.crash();
    let held = HoldLedger { hold: Some(by_hand(START)), past: vec![] };
    assert_eq!(ledger(&fixture), held);
    let other = DestinationId { name: "other".into(), ..queue() };
    assert_eq!(fixture.store.hold_ledger(&other).unwrap(), HoldLedger::default());
    fixture.pass(HOUR);
    // A destination's own word does not replace one by hand, nor does its success end it.
    fixture.store.hold(&queue(), refused(fixture.now())).await.unwrap();
    assert_eq!(fixture.store.end_hold(&queue(), true).await.unwrap(), None);
    assert_eq!(ledger(&fixture), held);
    let bell = fixture.store.ready(&queue());
    let ended = fixture.store.end_hold(&queue(), false).await.unwrap();
    bell.await;
    assert_eq!(ended, Some(by_hand(START)));
    let fixture = fixture.crash();
    let past = vec![(START, START + millis(HOUR))];
    assert_eq!(ledger(&fixture), HoldLedger { hold: None, past });
}

#[tokio::test]
async fn a_hold_takes_the_place_of_another_without_a_gap() {
    let fixture = Fixture::new();
    fixture.store.hold(&queue(), refused(START)).await.unwrap();
    fixture.pass(HOUR);
    fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).unwrap();
    assert_eq!(ledger, HoldLedger { hold: Some(by_hand(START)), past: vec![] });
}

#[tokio::test]
async fn a_hold_that_is_over_ended_when_its_time_was_up() {
    let fixture = Fixture::new();
    let until = START + millis(HOUR);
    let limited = Hold { until: Some(until), ..by_hand(START) };
    fixture.store.hold(&queue(), limited.clone()).await.unwrap();
    fixture.pass(3 * HOUR);
    let now = fixture.now();
    fixture.store.hold(&queue(), refused(now)).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).unwrap();
    assert_eq!(ledger, HoldLedger { hold: Some(refused(now)), past: vec![(START, until)] });
    fixture.store.end_hold(&queue(), true).await.unwrap();
    fixture
        .store
        .hold(&queue(), Hold { since: now, until: Some(now + 1), ..limited })
        .await
        .unwrap();
    fixture.pass(HOUR);
    fixture.store.end_hold(&queue(), false).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).unwrap();
    assert_eq!(ledger.past, [(START, until), (now, now), (now, now + 1)]);
}

#[tokio::test]
async fn old_holds_are_forgotten() {
    let fixture = Fixture::new();
    for _ in 0..1_010 {
        fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
        fixture.store.end_hold(&queue(), false).await.unwrap();
        fixture.pass(HOUR / 3600);
    }
    let past = fixture.store.hold_ledger(&queue()).unwrap().past;
    assert_eq!((past.len(), past[0].0), (1_000, START + 10_000));
    fixture.set_clock(past[499].1 + 8 * millis(DAY));
    fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
    fixture.store.end_hold(&queue(), false).await.unwrap();
    let left = fixture.store.hold_ledger(&queue()).unwrap().past;
    assert_eq!(left[..left.len() - 1], past[499..]);
}
