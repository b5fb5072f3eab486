//! Attempts: what is counted and remembered of each, and what is no attempt.

use std::time::Duration;

use segment_source_store::{ActionState, Attempt, MAX_HISTORY, Settlement};

use crate::harness::{Fixture, LEASE, SECOND, ack, millis, queue, reason, retry};

#[tokio::test]
async fn every_attempt_is_remembered_with_its_time() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    let began = fixture.now();
    let lease = fixture.take_one().await;
    assert_eq!(lease.first_attempt, None);
    fixture.pass(SECOND);
    fixture.settle(&lease, retry(SECOND)).await;
    fixture.pass(SECOND);
    // Lost ones count.
    let lease = fixture.take_one().await;
    assert_eq!(lease.first_attempt, Some(began));
    fixture.pass(LEASE);
    let fixture = fixture.reopen().await;
    let lease = fixture.take_one().await;
    assert_eq!((lease.attempt, lease.first_attempt), (3, Some(began)));
    fixture.settle(&lease, Settlement::Ack { answer: "200 OK".into() }).await;
    let status = fixture.entry(lease.action.event).await.actions.remove(0);
    let now = fixture.now();
    let attempt = |started, ended, code: Option<&str>| {
        let known = status.history.iter().filter_map(|it| it.failure.clone());
        let failure = code.map(|code| known.clone().find(|it| it.code == code).unwrap());
        Attempt { started, ended, failure }
    };
    let expected = [
        attempt(began, began + 1000, Some("later")),
        attempt(began + 2000, now, Some("lease_expired")),
        attempt(now, now, None),
    ];
    assert_eq!(status.history, expected);
    assert_eq!((status.attempts, status.answer.as_str()), (3, "200 OK"));
}

#[tokio::test]
async fn of_many_attempts_the_first_and_the_last_are_kept() {
    let fixture = Fixture::new().await;
    fixture.planned("u", 1).await;
    for attempt in 0..15 {
        let lease = fixture.take_one().await;
        let reason = reason(&attempt.to_string());
        fixture.settle(&lease, Settlement::Retry { delay: SECOND, reason }).await;
        fixture.pass(SECOND);
    }
    let lease = fixture.take_one().await;
    let answer = "\u{e4}".repeat(2000);
    fixture.settle(&lease, Settlement::Ack { answer: answer.clone() }).await;
    let status = fixture.entry(lease.action.event).await.actions.remove(0);
    let codes = status.history.iter().map(|it| it.failure.as_ref().map(|it| it.code.clone()));
    let codes: Vec<_> = codes.map(Option::unwrap_or_default).collect();
    assert_eq!(codes, ["0", "7", "8", "9", "10", "11", "12", "13", "14", ""]);
    assert_eq!((codes.len(), status.attempts), (MAX_HISTORY, 16));
    assert_eq!(status.answer, answer[..1024]);
}

#[tokio::test]
async fn deferring_is_no_attempt() {
    let fixture = Fixture::new().await;
    let event = fixture.planned("u", 1).await;
    let behind = fixture.planned("u", 1).await;
    for delay in [3 * SECOND, 5 * SECOND] {
        let lease = fixture.take_one().await;
        assert_eq!((lease.attempt, lease.first_attempt), (1, None));
        fixture.settle(&lease, Settlement::Defer { delay }).await;
        let due = fixture.now() + millis(delay);
        let pending = ActionState::Pending { not_before: Some(due) };
        assert_eq!(fixture.status(lease.action).await, (pending, 0, None));
        let taken = fixture.store.take(&queue(), 9, LEASE).await.unwrap();
        assert_eq!((taken.leases.len(), taken.next_due), (0, Some(due)));
        fixture.pass(delay);
    }
    let lease = fixture.take_one().await;
    fixture.settle(&lease, retry(Duration::ZERO)).await;
    let first = fixture.now();
    fixture.pass(SECOND);
    let lease = fixture.take_one().await;
    fixture.settle(&lease, Settlement::Defer { delay: Duration::ZERO }).await;
    let fixture = fixture.crash().await;
    let lease = fixture.take_one().await;
    assert_eq!((lease.action.event, lease.attempt), (event, 2));
    assert_eq!(lease.first_attempt, Some(first));
    fixture.settle(&lease, ack()).await;
    let status = fixture.entry(event).await.actions.remove(0);
    assert_eq!((status.attempts, status.history.len()), (2, 2));
    assert_eq!(fixture.take_one().await.action.event, behind);
}
