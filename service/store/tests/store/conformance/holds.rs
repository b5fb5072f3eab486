//! Holds of destinations, and what is remembered of them.

use segment_source_core::source::DestinationId;
use segment_source_store::{Ending, Hold, HoldLedger};

use crate::harness::{DAY, Fixture, HOUR, START, millis, queue};

fn by_hand(since: u64) -> Hold {
    Hold { since, until: None, refused: false, reason: "by hand".into() }
}

fn refused(since: u64) -> Hold {
    Hold { refused: true, reason: "401".into(), ..by_hand(since) }
}

#[tokio::test]
async fn a_hold_outlives_the_process_and_is_remembered_when_it_ends() {
    let fixture = Fixture::new().await;
    let ledger = async |fixture: &Fixture| fixture.store.hold_ledger(&queue()).await.unwrap();
    assert_eq!(ledger(&fixture).await, HoldLedger::default());
    assert_eq!(fixture.store.end_hold(&queue(), Ending::Any).await.unwrap(), None);
    let bell = fixture.store.ready(&queue());
    fixture.store.hold(&queue(), by_hand(START)).await.unwrap();
    bell.await;
    let fixture = fixture.crash().await;
    let held = HoldLedger { hold: Some(by_hand(START)), past: vec![] };
    assert_eq!(ledger(&fixture).await, held);
    let other = DestinationId { name: "other".into(), ..queue() };
    assert_eq!(fixture.store.hold_ledger(&other).await.unwrap(), HoldLedger::default());
    fixture.pass(HOUR);
    // A destination's own word does not replace one by hand, nor does its success end it.
    fixture.store.hold(&queue(), refused(fixture.now())).await.unwrap();
    assert_eq!(fixture.store.end_hold(&queue(), Ending::Refused).await.unwrap(), None);
    assert_eq!(ledger(&fixture).await, held);
    let bell = fixture.store.ready(&queue());
    let ended = fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    bell.await;
    assert_eq!(ended, Some(by_hand(START)));
    let fixture = fixture.crash().await;
    let past = vec![(START, START + millis(HOUR))];
    assert_eq!(ledger(&fixture).await, HoldLedger { hold: None, past });
}

#[tokio::test]
async fn a_hold_takes_the_place_of_another_without_a_gap() {
    let fixture = Fixture::new().await;
    fixture.store.hold(&queue(), refused(START)).await.unwrap();
    fixture.pass(HOUR);
    fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).await.unwrap();
    assert_eq!(ledger, HoldLedger { hold: Some(by_hand(START)), past: vec![] });
}

#[tokio::test]
async fn a_hold_that_is_over_ended_when_its_time_was_up() {
    let fixture = Fixture::new().await;
    let until = START + millis(HOUR);
    let limited = Hold { until: Some(until), ..by_hand(START) };
    fixture.store.hold(&queue(), limited.clone()).await.unwrap();
    fixture.pass(3 * HOUR);
    let now = fixture.now();
    fixture.store.hold(&queue(), refused(now)).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).await.unwrap();
    assert_eq!(ledger, HoldLedger { hold: Some(refused(now)), past: vec![(START, until)] });
    fixture.store.end_hold(&queue(), Ending::Refused).await.unwrap();
    fixture
        .store
        .hold(&queue(), Hold { since: now, until: Some(now + 1), ..limited })
        .await
        .unwrap();
    fixture.pass(HOUR);
    fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    let ledger = fixture.store.hold_ledger(&queue()).await.unwrap();
    assert_eq!(ledger.past, [(START, until), (now, now), (now, now + 1)]);
}

#[tokio::test]
async fn a_hold_whose_time_is_up_does_not_take_the_next_one_with_it() {
    let fixture = Fixture::new().await;
    let until = START + millis(HOUR);
    let limited = Hold { until: Some(until), ..by_hand(START) };
    let hold = async || fixture.store.hold_ledger(&queue()).await.unwrap().hold;
    fixture.store.hold(&queue(), limited.clone()).await.unwrap();
    assert_eq!(fixture.store.end_hold(&queue(), Ending::Over).await.unwrap(), None);
    assert_eq!(hold().await, Some(limited.clone()), "there is time left");
    fixture.pass(HOUR);
    // Somebody has seen that it is over; meanwhile comes another one.
    let next = by_hand(fixture.now());
    fixture.store.hold(&queue(), next.clone()).await.unwrap();
    assert_eq!(fixture.store.end_hold(&queue(), Ending::Over).await.unwrap(), None);
    assert_eq!(hold().await, Some(next));
    fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    let now = fixture.now();
    fixture
        .store
        .hold(&queue(), Hold { since: now, until: Some(now + 1), ..limited })
        .await
        .unwrap();
    fixture.pass(HOUR);
    assert!(fixture.store.end_hold(&queue(), Ending::Over).await.unwrap().is_some());
    assert_eq!(hold().await, None);
}

#[tokio::test]
async fn just_the_hold_that_is_meant_ends() {
    let fixture = Fixture::new().await;
    let noted = Hold { reason: "noted".into(), ..by_hand(START) };
    let hold = async || fixture.store.hold_ledger(&queue()).await.unwrap().hold;
    fixture.store.hold(&queue(), noted.clone()).await.unwrap();
    fixture.pass(HOUR);
    // It takes the place and the begin of the other one.
    fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
    let this = Ending::This(noted.clone());
    assert_eq!(fixture.store.end_hold(&queue(), this.clone()).await.unwrap(), None);
    assert_eq!(hold().await, Some(by_hand(START)));
    fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    let later = Hold { since: fixture.now(), ..noted.clone() };
    fixture.store.hold(&queue(), later.clone()).await.unwrap();
    assert_eq!(fixture.store.end_hold(&queue(), this).await.unwrap(), None, "another begin");
    let this = Ending::This(later.clone());
    assert_eq!(fixture.store.end_hold(&queue(), this).await.unwrap(), Some(later));
    assert_eq!(hold().await, None);
}

#[tokio::test]
async fn who_asks_for_a_free_place_replaces_no_hold() {
    let fixture = Fixture::new().await;
    let noted = |since| Hold { reason: "noted".into(), ..by_hand(since) };
    let hold = async || fixture.store.hold_ledger(&queue()).await.unwrap().hold;
    let limited = Hold { until: Some(START + millis(HOUR)), ..by_hand(START) };
    for there in [by_hand(START), refused(START), limited.clone()] {
        fixture.store.hold(&queue(), there.clone()).await.unwrap();
        assert!(!fixture.store.hold_if_free(&queue(), noted(START + 1)).await.unwrap());
        assert_eq!(hold().await, Some(there));
        fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    }
    fixture.store.hold(&queue(), limited).await.unwrap();
    fixture.pass(2 * HOUR);
    let now = fixture.now();
    let bell = fixture.store.ready(&queue());
    assert!(fixture.store.hold_if_free(&queue(), noted(now)).await.unwrap(), "its time is up");
    bell.await;
    let ledger = fixture.store.hold_ledger(&queue()).await.unwrap();
    assert_eq!(ledger.hold, Some(noted(now)));
    assert_eq!(ledger.past.last(), Some(&(START, START + millis(HOUR))));
}

#[tokio::test]
async fn old_holds_are_forgotten() {
    let fixture = Fixture::new().await;
    for _ in 0..1_010 {
        fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
        fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
        fixture.pass(HOUR / 3600);
    }
    let past = fixture.store.hold_ledger(&queue()).await.unwrap().past;
    assert_eq!((past.len(), past[0].0), (1_000, START + 10_000));
    fixture.set_clock(past[499].1 + 8 * millis(DAY));
    fixture.store.hold(&queue(), by_hand(fixture.now())).await.unwrap();
    fixture.store.end_hold(&queue(), Ending::Any).await.unwrap();
    let left = fixture.store.hold_ledger(&queue()).await.unwrap().past;
    assert_eq!(left[..left.len() - 1], past[499..]);
}
