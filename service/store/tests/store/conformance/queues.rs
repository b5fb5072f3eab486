//! How much waits in a queue, and what waits too long.

use segment_source_core::{event::ActionId, source::DestinationId};
use segment_source_store::{ActionState, Backlog, Millis, ReplayId, Revival};

use crate::harness::{
    DAY, Fixture, HOUR, NewEventExt as _, SECOND, ack, action, event, new, plan, queue, reason,
    retry, source,
};

async fn backlog(fixture: &Fixture) -> Backlog {
    fixture.store.backlog(&queue()).await.unwrap()
}

async fn expire(fixture: &Fixture, before: Millis) -> u64 {
    let mut expired = 0;
    loop {
        let removed = fixture.store.expire(&queue(), before, reason("too_old")).await.unwrap();
        expired += removed.actions;
        if !removed.more {
            return expired;
        }
    }
}

#[tokio::test]
async fn a_backlog_counts_lanes_and_tells_the_oldest_head() {
    let fixture = Fixture::new().await;
    assert_eq!(backlog(&fixture).await, Backlog::default());
    let oldest = fixture.planned("u", 2).await.millis;
    fixture.pass(HOUR);
    let second = fixture.planned("v", 1).await.millis;
    assert_eq!(backlog(&fixture).await, Backlog { lanes: 2, oldest: Some(oldest) });
    let lease = fixture.take_one().await;
    fixture.settle(&lease, retry(SECOND)).await;
    let fixture = fixture.crash().await;
    assert_eq!(backlog(&fixture).await, Backlog { lanes: 2, oldest: Some(oldest) });
    fixture.pass(SECOND);
    for _ in 0..2 {
        let lease = fixture.take(9).await.into_iter().find(|it| it.action.event.millis == oldest);
        fixture.settle(&lease.unwrap(), ack()).await;
    }
    assert_eq!(backlog(&fixture).await, Backlog { lanes: 1, oldest: Some(second) });
    let other = DestinationId { name: "other".into(), ..queue() };
    assert_eq!(fixture.store.backlog(&other).await.unwrap(), Backlog::default());
}

#[tokio::test]
async fn what_waits_too_long_is_a_dead_letter_and_its_lane_goes_on() {
    let fixture = Fixture::new().await;
    let leased = fixture.planned("leased", 2).await;
    let taken = fixture.store.take(&queue(), 1, 2 * DAY).await.unwrap();
    let lease = &taken.leases[0];
    let delayed = fixture.planned("delayed", 1).await;
    let retried = fixture.take_one().await;
    fixture.settle(&retried, retry(HOUR)).await;
    let old = fixture.planned("u", 2).await;
    fixture.pass(DAY);
    let young = fixture.planned("u", 1).await;
    assert_eq!(expire(&fixture, leased.millis).await, 0);
    assert_eq!(expire(&fixture, young.millis).await, 4);
    assert_eq!(expire(&fixture, young.millis).await, 0);
    let fixture = fixture.crash().await;
    let dead = |attempts| (ActionState::Dead, attempts, Some("too_old".to_owned()));
    assert_eq!(fixture.status(retried.action).await, dead(1));
    for index in 0..2 {
        assert_eq!(fixture.status(ActionId { event: old, run: 0, index }).await, dead(0));
    }
    assert_eq!(fixture.store.dead(&source(), None, 9).await.unwrap().len(), 4);
    // The leased one was left, the one behind it was not.
    let taken: Vec<_> = fixture.take(9).await.iter().map(|it| it.action.event).collect();
    assert_eq!(taken.len(), 2);
    assert!(taken.contains(&leased) && taken.contains(&young) && !taken.contains(&delayed));
    assert_eq!(lease.action.event, leased);
}

#[tokio::test]
async fn what_was_revived_or_replayed_waits_from_then_on() {
    let fixture = Fixture::new().await;
    let id = fixture.planned("u", 1).await;
    fixture.pass(DAY);
    let dead = ActionId { event: id, run: 0, index: 0 };
    assert_eq!(expire(&fixture, fixture.now()).await, 1);
    let revived = vec![Revival { action: dead, payload: None }];
    assert_eq!(fixture.store.revive(revived).await.unwrap(), [true]);
    let replayed = vec![plan(id, vec![action("a")])];
    fixture.store.replay(ReplayId([1; 16]), replayed).await.unwrap();
    assert_eq!(expire(&fixture, fixture.now()).await, 0);
    fixture.pass(SECOND);
    assert_eq!(expire(&fixture, fixture.now()).await, 2);
    assert_eq!(backlog(&fixture).await, Backlog::default());
}

#[tokio::test]
async fn many_expire_in_steps() {
    let fixture = Fixture::new().await;
    let batch: Vec<_> = (0..2_500).map(|n| event().of_user(&n.to_string())).collect();
    let accepted = fixture.store.accept(batch).await.unwrap();
    let planned = accepted.into_iter().map(|one| plan(new(one), vec![action("a")])).collect();
    fixture.store.plan(&source(), planned).await.unwrap();
    fixture.pass(SECOND);
    let step = fixture.store.expire(&queue(), fixture.now(), reason("too_old")).await.unwrap();
    assert!(step.more && step.actions < 2_500, "{step:?}");
    assert_eq!(expire(&fixture, fixture.now()).await + step.actions, 2_500);
    assert_eq!(backlog(&fixture).await, Backlog::default());
    assert_eq!(fixture.take(9).await.len(), 0);
}
