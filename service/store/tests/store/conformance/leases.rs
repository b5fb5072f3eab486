//! Leases: how they end, what ends them, what counts as an attempt.

use std::time::Duration;

use segment_source_store::{ActionState, LeaseToken, Settled, Settlement};

use crate::harness::{Fixture, LEASE, SECOND, ack, millis, reject, retry};

const PENDING: ActionState = ActionState::Pending { not_before: None };

#[tokio::test]
async fn a_lease_says_what_is_to_be_done() {
    let fixture = Fixture::new().await;
    let event = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    assert_eq!((lease.attempt, lease.expires), (1, fixture.now() + millis(LEASE)));
    assert_eq!(lease.record, fixture.entry(event).await.actions[0].action);
    assert_eq!(fixture.status(lease.action).await, (ActionState::Leased, 1, None));
}

#[tokio::test]
async fn every_settlement_leaves_its_state() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, retry(SECOND)).await;
    let not_before = Some(fixture.now() + 1000);
    let later = Some("later".to_owned());
    let delayed = (ActionState::Pending { not_before }, 1, later.clone());
    assert_eq!(fixture.status(lease.action).await, delayed);
    fixture.pass(SECOND);
    assert_eq!(fixture.status(lease.action).await, (PENDING, 1, later.clone()));
    let lease = fixture.take_one().await;
    assert_eq!(fixture.status(lease.action).await, (ActionState::Leased, 2, later.clone()));
    fixture.settle(&lease, ack()).await;
    assert_eq!(fixture.status(lease.action).await, (ActionState::Delivered, 2, later));

    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    let dead = (ActionState::Dead, 1, Some("never".to_owned()));
    assert_eq!(fixture.status(lease.action).await, dead);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.status(lease.action).await, dead);
    assert_eq!(fixture.take(9).await.len(), 0);
}

#[tokio::test]
async fn a_lease_is_settled_once() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    let twice = vec![(lease.token, ack()), (lease.token, reject())];
    let settled = fixture.store.settle(twice).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::LeaseLost]);
    assert_eq!(fixture.settle(&lease, reject()).await, Settled::LeaseLost);
    assert_eq!(fixture.status(lease.action).await, (ActionState::Delivered, 1, None));
}

#[tokio::test]
async fn a_foreign_token_settles_nothing() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    assert_eq!(lease.token.source(), lease.action.event.source);
    let mut of_another_source = lease.token;
    of_another_source.0[0] ^= 1;
    for token in [LeaseToken([7; 24]), of_another_source] {
        for settlement in [ack(), reject(), retry(SECOND), Settlement::Extend(SECOND)] {
            let settled = fixture.store.settle(vec![(token, settlement)]).await;
            assert_eq!(settled, Ok(vec![Settled::LeaseLost]));
        }
        fixture.store.release(vec![token]);
    }
    assert_eq!(fixture.status(lease.action).await, (ActionState::Leased, 1, None));
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
}

#[tokio::test]
async fn a_lease_ends_when_its_time_is_up() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.pass(LEASE - Duration::from_millis(1));
    assert_eq!(fixture.take(9).await.len(), 0);
    fixture.pass(Duration::from_millis(1));
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    let expired = Some("lease_expired".to_owned());
    assert_eq!(fixture.status(lease.action).await, (PENDING, 1, expired));
    let again = fixture.take_one().await;
    assert_eq!((again.action, again.attempt), (lease.action, 2));
    assert_ne!(again.token, lease.token);
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    assert_eq!(fixture.settle(&again, ack()).await, Settled::Done);
}

#[tokio::test]
async fn an_expired_lease_is_noticed_by_itself() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    let ready = fixture.store.ready(&crate::harness::queue());
    fixture.pass(LEASE);
    ready.await;
    assert_eq!(fixture.take_one().await.action, lease.action);
}

#[tokio::test]
async fn a_lease_can_be_extended() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.pass(LEASE / 2);
    let until = fixture.now() + millis(LEASE);
    let extended = fixture.settle(&lease, Settlement::Extend(LEASE)).await;
    assert_eq!(extended, Settled::Extended(until));
    fixture.set_clock(until - 1);
    assert_eq!(fixture.take(9).await.len(), 0);
    fixture.set_clock(until);
    assert_eq!(fixture.settle(&lease, Settlement::Extend(LEASE)).await, Settled::LeaseLost);
    assert_eq!(fixture.take_one().await.attempt, 2);
}

#[tokio::test]
async fn a_released_lease_makes_its_action_ready_at_once() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.store.release(vec![lease.token]);
    let again = fixture.take_one().await;
    assert_eq!((again.action, again.attempt), (lease.action, 2));
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
}

#[tokio::test]
async fn opening_again_voids_leases_and_keeps_order() {
    let fixture = Fixture::new().await;
    let (a, b) = (fixture.planned("u", 1).await, fixture.planned("u", 1).await);
    let lease = fixture.take_one().await;
    let fixture = fixture.crash().await;
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    let again = fixture.take_one().await;
    assert_eq!((again.action.event, again.attempt), (a, 1));
    // In good order the attempt counts.
    let fixture = fixture.reopen().await;
    let again = fixture.take_one().await;
    assert_eq!((again.action.event, again.attempt), (a, 2));
    fixture.settle(&again, ack()).await;
    assert_eq!(fixture.take_one().await.action.event, b);
}

#[tokio::test]
async fn delays_outlive_the_process() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, retry(10 * SECOND)).await;
    let fixture = fixture.crash().await;
    let taken = fixture.store.take(&crate::harness::queue(), 9, LEASE).await.unwrap();
    assert_eq!((taken.leases.len(), taken.next_due), (0, Some(fixture.now() + 10_000)));
    fixture.pass(10 * SECOND);
    assert_eq!(fixture.take_one().await.attempt, 2);
}

#[tokio::test]
async fn a_taker_that_stops_waiting_leaves_no_lease() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    // The first poll sends the command, and nobody is there for the answer.
    let mut take = Box::pin(fixture.take(9));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(take.as_mut().poll(cx))).await;
    if let std::task::Poll::Ready(leases) = polled {
        fixture.store.release(leases.iter().map(|lease| lease.token).collect());
    }
    drop(take);
    // Ready at once, without waiting for the lease to end.
    while fixture.take(9).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let waiting = fixture.store.clone();
    let waiting = tokio::spawn(async move {
        waiting.next_events(&crate::harness::source(), None, 1).await.map(drop)
    });
    tokio::task::yield_now().await;
    fixture.store.close().await;
    let closing = Err(segment_source_store::StoreError::Closing);
    assert_eq!(waiting.await.unwrap(), closing);
    assert_eq!(fixture.store.accept(vec![crate::harness::event()]).await.map(drop), closing);
    assert_eq!(fixture.store.take(&crate::harness::queue(), 1, LEASE).await.map(drop), closing);
    fixture.store.close().await;
}
