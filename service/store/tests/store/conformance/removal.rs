//! Removing: what retention takes and what it must leave, and what erasing leaves.

use segment_source_core::event::{ActionId, EventId};
use segment_source_store::{
    Accepted, ActionState, LogRange, Removed, ReplayId, Retain, Revival, Settled,
};

use crate::harness::{
    DAY, Fixture, HOUR, NewEventExt as _, SECOND, ack, action, event, new, original, other_source,
    plan, queue, reject, source,
};

async fn log(fixture: &Fixture) -> Vec<EventId> {
    let range = LogRange { source: source(), before: None, since: None, until: None };
    let entries = fixture.store.read_log(range, 9_999).await.unwrap();
    entries.into_iter().map(|entry| entry.id).rev().collect()
}

/// Until nothing more goes.
async fn retain(fixture: &Fixture, keep: Retain) -> (u64, u64) {
    let mut sum = (0, 0);
    loop {
        let Removed { events, actions, more } =
            fixture.store.retain(&source(), keep).await.unwrap();
        sum = (sum.0 + events, sum.1 + actions);
        if !more {
            return sum;
        }
    }
}

fn before(millis: u64) -> Retain {
    Retain { before: millis, bytes: None }
}

#[tokio::test]
async fn what_is_old_and_done_goes_and_what_is_owed_stays() {
    let fixture = Fixture::new().await;
    let delivered = fixture.planned("delivered", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, ack()).await;
    let dead = fixture.planned("dead", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    let leased = fixture.planned("leased", 2).await;
    let lease = fixture.take_one().await;
    let waiting = fixture.planned("waiting", 1).await;
    let nothing = fixture.planned("nothing", 0).await;
    let keyed = new(fixture.accept(event().keyed("k").window(30 * DAY)).await);
    fixture.store.plan(&source(), vec![plan(keyed, vec![])]).await.unwrap();
    let Accepted::Duplicate { entry: repeat, .. } = fixture.accept(event().keyed("k")).await else {
        panic!("it is new")
    };
    let unplanned = new(fixture.accept(event()).await);
    // So that the repeat is passed over.
    assert_eq!(fixture.unplanned(9).await.len(), 1);
    fixture.store.pass_over(&source(), repeat).await.unwrap();
    let foreign = new(fixture.accept(event().of_source(other_source())).await);
    fixture.pass(DAY);
    let young = new(fixture.accept(event()).await);
    let all = [delivered, dead, leased, waiting, nothing, keyed, repeat, unplanned, young];
    assert_eq!(log(&fixture).await, all);
    assert_eq!(retain(&fixture, before(delivered.millis)).await, (0, 0));
    let owed = [leased, waiting, unplanned, young];
    assert_eq!(retain(&fixture, before(young.millis)).await, (5, 2));
    assert_eq!(log(&fixture).await, owed);
    let fixture = fixture.crash().await;
    assert_eq!(log(&fixture).await, owed);
    assert!(fixture.store.event(delivered).await.unwrap().is_none());
    assert!(fixture.store.event(foreign).await.unwrap().is_some());
    assert_eq!(fixture.store.dead(&source(), None, 9).await.unwrap(), []);
    // A repeat of what is gone is a repeat all the same.
    assert_eq!(original(fixture.accept(event().keyed("k")).await), keyed);
    let revived =
        vec![Revival { action: ActionId { event: dead, run: 0, index: 0 }, payload: None }];
    assert_eq!(fixture.store.revive(revived).await.unwrap(), [false]);
    let replayed = vec![plan(delivered, vec![action("a")])];
    assert_eq!(fixture.store.replay(ReplayId([1; 16]), replayed).await.unwrap(), [None]);
    // What was owed is delivered, and goes then.
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    for _ in 0..2 {
        for lease in fixture.take(9).await {
            fixture.settle(&lease, ack()).await;
        }
    }
    assert_eq!(retain(&fixture, before(young.millis)).await, (2, 3));
    assert_eq!(log(&fixture).await[..2], [unplanned, young]);
}

#[tokio::test]
async fn beyond_so_many_bytes_the_oldest_go() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let large = event().change(|one| one.event.body = vec![b'x'; 10_000].into());
        ids.push(new(fixture.accept(large).await));
        if n % 10 == 0 {
            fixture.pass(HOUR);
        }
    }
    let planned = ids.iter().map(|id| plan(*id, vec![])).collect();
    fixture.store.plan(&source(), planned).await.unwrap();
    let fixture = fixture.reopen().await;
    let keep = |bytes| Retain { before: 0, bytes: Some(bytes) };
    assert_eq!(retain(&fixture, keep(2_000_000)).await, (0, 0));
    let (events, _) = retain(&fixture, keep(500_000)).await;
    assert!((50..=56).contains(&events), "{events} went");
    let left = usize::try_from(events).unwrap();
    assert_eq!(log(&fixture).await, ids[left..]);
    let fixture = fixture.crash().await;
    assert_eq!(retain(&fixture, keep(500_000)).await, (0, 0));
    assert_eq!(retain(&fixture, keep(0)).await, (100 - events, 0));
    assert_eq!(log(&fixture).await, []);
    // What was counted has gone with it.
    fixture.planned("u", 0).await;
    assert_eq!(retain(&fixture, keep(1_000)).await, (0, 0));
}

#[tokio::test]
async fn many_go_in_steps_past_what_stays() {
    let fixture = Fixture::new().await;
    let batch: Vec<_> = (0..5_000).map(|_| event()).collect();
    let accepted = fixture.store.accept(batch).await.unwrap();
    let owed = |n: usize| n < 2_500 && n.is_multiple_of(2);
    let planned = accepted
        .into_iter()
        .enumerate()
        .map(|(n, one)| plan(new(one), if owed(n) { vec![action("a")] } else { vec![] }));
    fixture.store.plan(&source(), planned.collect()).await.unwrap();
    fixture.pass(3 * DAY);
    let keep = before(fixture.now());
    let step = fixture.store.retain(&source(), keep).await.unwrap();
    assert!(step.more && step.events <= 2_000, "{step:?}");
    assert_eq!(retain(&fixture, keep).await.0 + step.events, 3_750);
    assert_eq!(log(&fixture).await.len(), 1_250);
}

#[tokio::test]
async fn a_day_comes_and_goes_and_what_is_younger_is_untouched() {
    let fixture = Fixture::new().await;
    for _ in 0..4 {
        fixture.planned("u", 0).await;
        fixture.pass(DAY);
    }
    let last = fixture.planned("u", 1).await;
    assert_eq!(retain(&fixture, before(fixture.now())).await, (4, 0));
    let fixture = fixture.reopen().await;
    assert_eq!(log(&fixture).await, [last]);
    assert_eq!(fixture.take_one().await.action.event, last);
    let fixture = fixture.crash().await;
    assert_eq!(log(&fixture).await, [last]);
}

#[tokio::test]
async fn what_runs_again_is_owed_again() {
    let fixture = Fixture::new().await;
    let dead = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    let replayed = fixture.planned("v", 0).await;
    fixture.store.replay(ReplayId([1; 16]), vec![plan(replayed, vec![action("a")])]).await.unwrap();
    let revived = vec![Revival { action: lease.action, payload: None }];
    fixture.store.revive(revived).await.unwrap();
    fixture.pass(DAY);
    assert_eq!(retain(&fixture, before(fixture.now())).await, (0, 0));
    assert_eq!(log(&fixture).await, [dead, replayed]);
    for lease in fixture.take(9).await {
        fixture.settle(&lease, ack()).await;
    }
    assert_eq!(retain(&fixture, before(fixture.now())).await, (2, 2));
}

#[tokio::test]
async fn erasing_leaves_that_it_was_there() {
    let fixture = Fixture::new().await;
    let done = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    let answer = segment_source_store::Settlement::Ack { answer: "u".into() };
    fixture.settle(&lease, answer).await;
    let dead = fixture.planned("u", 1).await;
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    let leased = fixture.planned("u", 2).await;
    let lease = fixture.take_one().await;
    let other = fixture.planned("v", 1).await;
    let waiting = fixture.planned("u", 1).await;
    let unplanned = new(fixture.accept(event().of_user("u").keyed("k")).await);
    // The planner has it already.
    assert_eq!(fixture.unplanned(9).await.len(), 1);
    let events = vec![done, dead, leased, waiting, unplanned, EventId { millis: 5, ..done }];
    let removed = fixture.store.erase(events.clone()).await.unwrap();
    assert_eq!(removed, Removed { events: 5, actions: 5, more: false });
    assert_eq!(fixture.store.erase(events).await.unwrap(), Removed::default());
    fixture.store.plan(&source(), vec![plan(unplanned, vec![action("a")])]).await.unwrap();
    assert_eq!(fixture.settle(&lease, ack()).await, Settled::LeaseLost);
    let taken: Vec<_> = fixture.take(9).await.iter().map(|it| it.action.event).collect();
    assert_eq!(taken, [other]);
    let fixture = fixture.crash().await;
    let state = async |event, index| {
        let (state, _, code) = fixture.status(ActionId { event, run: 0, index }).await;
        (state, code)
    };
    assert_eq!(state(done, 0).await, (ActionState::Delivered, None));
    assert_eq!(state(dead, 0).await, (ActionState::Dead, Some("never".into())));
    for (event, index) in [(leased, 0), (leased, 1), (waiting, 0)] {
        assert_eq!(state(event, index).await, (ActionState::Dead, Some("erased".into())));
    }
    for id in [done, dead, leased, waiting, unplanned] {
        let entry = fixture.entry(id).await;
        let event = &entry.event;
        assert_eq!((&event.key, &event.order_key, event.headers.len()), (&None, &None, 0));
        assert!(event.body.is_empty() && event.event_type.is_some());
        assert!(entry.actions.iter().all(|it| it.action.payload.is_none() && it.answer != "u"));
    }
    assert_eq!(fixture.entry(unplanned).await.actions, []);
    assert_eq!(fixture.store.dead(&source(), None, 9).await.unwrap(), []);
    let revived =
        vec![Revival { action: ActionId { event: dead, run: 0, index: 0 }, payload: None }];
    assert_eq!(fixture.store.revive(revived).await.unwrap(), [false]);
    let replayed = vec![plan(done, vec![action("a")])];
    assert_eq!(fixture.store.replay(ReplayId([1; 16]), replayed).await.unwrap(), [None]);
    // The key is known all the same.
    assert_eq!(original(fixture.accept(event().keyed("k")).await), unplanned);
    assert_eq!(fixture.take(9).await.len(), 1);
    assert_eq!(fixture.store.backlog(&queue()).await.unwrap().lanes, 1);
}

#[tokio::test]
async fn what_was_erased_before_it_was_planned_is_passed_over() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event().of_user("u")).await);
    fixture.store.erase(vec![id]).await.unwrap();
    let fixture = fixture.crash().await;
    let next = new(fixture.accept(event()).await);
    let waiting: Vec<_> = fixture.unplanned(9).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(waiting, [next]);
    fixture.pass(SECOND);
}
