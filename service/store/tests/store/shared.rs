//! What only a store promises that several processes share: owners, and that nobody else does what is
//! theirs. Against the embedded store there is nothing to be tested here.

use std::time::{Duration, Instant};

use segment_source_store::{Accepted, Settled, StoreError};

use crate::harness::{
    Fixture, LEASE, NewEventExt as _, SECOND, ack, action, event, new, plan, queue, source,
};

/// Who was stopped for longer than it owns a partition does not know that it is another's.
#[tokio::test]
async fn what_is_another_s_is_neither_planned_nor_pushed() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event().of_user("u")).await);
    let leased = fixture.planned("v", 1).await;
    let taken = fixture.store.take_to_push(&queue(), 1, LEASE).await.unwrap().leases;
    assert_eq!(taken[0].action.event, leased);
    if !fixture.give_to_another(&source()).await {
        return;
    }
    let planned = fixture.store.plan(&source(), vec![plan(id, vec![action("a")])]).await;
    assert!(matches!(planned, Err(StoreError::Unavailable(_))), "{planned:?}");
    assert!(!fixture.store.owns(&source()), "now it knows");
    let passed_over = fixture.store.pass_over(&source(), id).await;
    assert!(matches!(passed_over, Err(StoreError::Unavailable(_))), "{passed_over:?}");
    assert_eq!(fixture.store.take_to_push(&queue(), 9, LEASE).await.unwrap().leases.len(), 0);
    assert_eq!(fixture.unplanned(9).await, []);
    // A lease that it has is its own all the same, as long as it lasts.
    assert_eq!(fixture.settle(&taken[0], ack()).await, Settled::Done);
    assert!(fixture.entry(id).await.planned.is_none());
}

#[tokio::test]
async fn a_take_to_push_finds_out_that_the_queue_is_another_s() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    if !fixture.give_to_another(&source()).await {
        return;
    }
    assert_eq!(fixture.store.take_to_push(&queue(), 9, LEASE).await.unwrap().leases.len(), 0);
    assert!(!fixture.store.owns(&source()), "now it knows");
    // Consumers may take wherever they are connected.
    assert_eq!(fixture.take(9).await.len(), 1);
}

#[tokio::test]
async fn processes_divide_what_there_is_and_take_over_from_those_that_leave() {
    let one = Fixture::new().await;
    let Some(two) = one.beside("there").await else { return };
    let sources: Vec<_> =
        (0..64).map(|n| format!("prod/s{n}").parse().unwrap()).collect::<Vec<_>>();
    let begun = Instant::now();
    // Each source has one owner, and both have some.
    loop {
        let owned = |store: &segment_source_store::Store| {
            sources.iter().map(|source| store.owns(source)).collect::<Vec<_>>()
        };
        let (a, b) = (owned(&one.store), owned(&two));
        assert!(a.iter().zip(&b).all(|(a, b)| !(*a && *b)), "two own one partition");
        if a.iter().zip(&b).all(|(a, b)| a != b) && a.contains(&true) && b.contains(&true) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "they do not divide it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What one takes the other settles.
    one.accept(event().of_user("u")).await;
    let planner = if one.store.owns(&source()) { &one.store } else { &two };
    let id = match &planner.unplanned(&source(), 1).await.unwrap()[..] {
        [segment_source_store::Unplanned::Event(id, _)] => *id,
        other => panic!("{other:?}"),
    };
    planner.plan(&source(), vec![plan(id, vec![action("a")])]).await.unwrap();
    let lease = one.take_one().await;
    assert_eq!(two.settle(vec![(lease.token, ack())]).await.unwrap(), [Settled::Done]);
    assert_eq!(one.settle(&lease, ack()).await, Settled::LeaseLost);
    one.store.close().await;
    while !sources.iter().all(|source| two.owns(source)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody takes over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every bucket is looked at, not only those that are looked at first.
#[tokio::test]
async fn keys_whose_window_is_over_are_forgotten() {
    let fixture = Fixture::new().await;
    let window = 60 * SECOND;
    for key in 0..300 {
        new(fixture.accept(event().keyed(&key.to_string()).window(window)).await);
    }
    new(fixture.accept(event().keyed("longer")).await);
    let Some(claims) = fixture.claims(&source()).await else { return };
    assert_eq!(claims, 301);
    fixture.pass(window);
    let begun = Instant::now();
    while fixture.claims(&source()).await != Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody sweeps");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = fixture.accept(event().keyed("longer")).await;
    assert!(matches!(again, Accepted::Duplicate { .. }), "{again:?}");
}
