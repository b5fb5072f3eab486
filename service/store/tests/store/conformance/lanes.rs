//! Lanes: order inside, independence between.

use std::{collections::HashSet, time::Duration};

use segment_source_core::{event::ActionId, source::DestinationId};
use segment_source_store::{NewAction, Settled};

use crate::harness::{
    Fixture, LEASE, NewEventExt as _, SECOND, ack, action, event, new, plan, queue, reject, retry,
    source,
};

#[tokio::test]
async fn a_lane_gives_one_action_at_a_time_in_log_order() {
    let fixture = Fixture::new().await;
    let a = fixture.planned("u", 2).await;
    let b = fixture.planned("u", 1).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let lease = fixture.take_one().await;
        assert_eq!(fixture.take(9).await.len(), 0);
        assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
        order.push((lease.action.event, lease.action.index));
    }
    assert_eq!(order, [(a, 0), (a, 1), (b, 0)]);
    assert_eq!(fixture.take(9).await.len(), 0);
}

#[tokio::test]
async fn lanes_do_not_wait_for_one_another() {
    let fixture = Fixture::new().await;
    let (a, _) = (fixture.planned("u", 1).await, fixture.planned("u", 1).await);
    let b = fixture.planned("v", 1).await;
    let events: Vec<_> = fixture.take(9).await.iter().map(|lease| lease.action.event).collect();
    assert_eq!(events, [a, b]);
}

#[tokio::test]
async fn an_event_without_order_key_is_a_lane_of_its_own() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        let id = new(fixture.accept(event()).await);
        fixture
            .store
            .plan(&source(), vec![plan(id, vec![action("a"), action("b")])])
            .await
            .unwrap();
    }
    let indexes: Vec<_> = fixture.take(9).await.iter().map(|lease| lease.action.index).collect();
    assert_eq!(indexes, [0, 0, 0]);
}

#[tokio::test]
async fn each_destination_has_lanes_of_its_own() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event().of_user("u")).await);
    let crm = NewAction { destination: "crm".into(), ..action("b") };
    fixture.store.plan(&source(), vec![plan(id, vec![action("a"), crm])]).await.unwrap();
    let first = fixture.take_one().await;
    let crm = DestinationId { name: "crm".into(), ..queue() };
    let second = fixture.store.take(&crm, 9, LEASE).await.unwrap().leases;
    assert_eq!((first.record.mapping.as_str(), second.len()), ("a", 1));
    assert_eq!(second[0].record.mapping, "b");
}

#[tokio::test]
async fn a_retried_head_holds_its_lane_back_and_no_other() {
    let fixture = Fixture::new().await;
    let a = fixture.planned("u", 1).await;
    let b = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, retry(10 * SECOND)).await;
    let c = fixture.planned("v", 1).await;
    let taken = fixture.store.take(&queue(), 9, LEASE).await.unwrap();
    assert_eq!(taken.leases.len(), 1);
    assert_eq!(taken.leases[0].action.event, c);
    assert_eq!(taken.next_due, Some(fixture.now() + 10_000));
    fixture.pass(10 * SECOND - Duration::from_millis(1));
    assert_eq!(fixture.take(9).await.len(), 0);
    fixture.pass(Duration::from_millis(1));
    let lease = fixture.take_one().await;
    assert_eq!((lease.action.event, lease.attempt), (a, 2));
    fixture.settle(&lease, ack()).await;
    assert_eq!(fixture.take_one().await.action.event, b);
}

#[tokio::test]
async fn a_rejected_head_lets_its_lane_go_on() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let b = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    assert_eq!(fixture.take_one().await.action.event, b);
}

#[tokio::test]
async fn no_lane_starves() {
    let fixture = Fixture::new().await;
    for user in ["a", "b", "c"] {
        for _ in 0..3 {
            fixture.planned(user, 1).await;
        }
    }
    let mut users = String::new();
    for _ in 0..9 {
        let lease = fixture.take_one().await;
        users += &fixture.entry(lease.action.event).await.event.order_key.unwrap()[5..];
        fixture.settle(&lease, ack()).await;
    }
    assert_eq!(users, "abcabcabc");
}

#[tokio::test]
async fn ten_thousand_lanes_wait_and_are_drained_once_each() {
    let fixture = Fixture::new().await;
    let batch: Vec<_> = (0..10_000).map(|n| event().of_user(&n.to_string())).collect();
    let accepted = fixture.store.accept(batch).await.unwrap();
    let planned = accepted.into_iter().map(|one| plan(new(one), vec![action("a")])).collect();
    fixture.store.plan(&source(), planned).await.unwrap();
    let fixture = fixture.reopen().await;
    let mut seen: HashSet<ActionId> = HashSet::new();
    loop {
        let leases = fixture.take(1000).await;
        if leases.is_empty() {
            break;
        }
        assert!(leases.iter().all(|lease| seen.insert(lease.action)));
        let acks = leases.iter().map(|lease| (lease.token, ack())).collect();
        fixture.store.settle(acks).await.unwrap();
    }
    assert_eq!(seen.len(), 10_000);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.take(9).await.len(), 0);
}

#[tokio::test]
async fn those_who_wait_hear_of_what_comes_between_asking_and_waiting() {
    let fixture = Fixture::new().await;
    let ready = fixture.store.ready(&queue());
    fixture.planned("u", 1).await;
    ready.await;
    let lease = fixture.take_one().await;
    for settlement in [retry(SECOND), retry(Duration::ZERO)] {
        let ready = fixture.store.ready(&queue());
        fixture.settle(&lease, settlement).await;
        if fixture.store.take(&queue(), 0, LEASE).await.unwrap().next_due.is_some() {
            ready.await;
            fixture.pass(SECOND);
        }
    }
    let lease = fixture.take_one().await;
    let ready = fixture.store.ready(&queue());
    fixture.store.release(vec![lease.token]);
    ready.await;
    assert_eq!(fixture.take(9).await.len(), 1);
}

/// Else a consumer that asks for a thousand would have all of them in memory, however large.
#[tokio::test]
async fn one_take_gives_few_large_actions() {
    let fixture = Fixture::new().await;
    for _ in 0..5 {
        let id = new(fixture.accept(event()).await);
        let large = NewAction { rendered: Ok(vec![b'x'; 1 << 20].into()), ..action("a") };
        fixture.store.plan(&source(), vec![plan(id, vec![large])]).await.unwrap();
    }
    let huge = NewAction { rendered: Ok(vec![b'x'; 16 << 20].into()), ..action("a") };
    let id = new(fixture.accept(event()).await);
    fixture.store.plan(&source(), vec![plan(id, vec![huge])]).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        let leases = fixture.take(1_000).await;
        taken.push(leases.len());
    }
    assert_eq!(taken, [2, 2, 1, 1]);
    assert_eq!(fixture.take(1_000).await.len(), 0);
}
