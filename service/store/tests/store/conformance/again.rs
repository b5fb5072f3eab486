//! Running again: what a repeat brings back, revived actions, replays, dead letters.

use segment_source_core::event::{ActionId, EventId};
use segment_source_store::{
    Accepted, ActionState, NewAction, Planned, ReplayId, Revival, Unplanned,
};

use crate::harness::{
    Fixture, NewEventExt as _, SECOND, ack, action, event, new, other_source, plan, reason, reject,
    retry, source,
};

const PENDING: ActionState = ActionState::Pending { not_before: None };

fn first(event: EventId) -> ActionId {
    ActionId { event, run: 0, index: 0 }
}

fn stored(action: ActionId) -> Revival {
    Revival { action, payload: None }
}

/// Sends and plans an event with a key; its action dies.
async fn died(fixture: &Fixture, key: &str) -> EventId {
    let id = new(fixture.accept(event().of_user("u").keyed(key)).await);
    fixture.store.plan(&source(), vec![plan(id, vec![action("a")])]).await.unwrap();
    let lease = fixture.take_one().await;
    fixture.settle(&lease, reject()).await;
    id
}

async fn dead(fixture: &Fixture) -> Vec<ActionId> {
    let dead = fixture.store.dead(&source(), None, 9).await.unwrap();
    dead.into_iter().map(|status| status.id).collect()
}

#[tokio::test]
async fn a_repeat_of_what_failed_is_told_until_it_is_passed_over() {
    let fixture = Fixture::new().await;
    let bad = died(&fixture, "bad").await;
    let good = fixture.planned("u", 0).await;
    let good_again = new(fixture.accept(event().keyed("good")).await);
    fixture.store.plan(&source(), vec![plan(good_again, vec![])]).await.unwrap();
    fixture.accept(event().keyed("good")).await;
    let Accepted::Duplicate { entry, .. } = fixture.accept(event().keyed("bad")).await else {
        panic!("it is new")
    };
    let later = new(fixture.accept(event()).await);
    let fixture = fixture.reopen().await;
    for _ in 0..2 {
        let waiting = fixture.store.unplanned(&source(), 9).await.unwrap();
        let [Unplanned::Repeat { entry: repeat, original }, Unplanned::Event(event, _)] =
            &waiting[..]
        else {
            panic!("{waiting:?}")
        };
        assert_eq!((*repeat, *original, *event), (entry, bad, later));
    }
    assert_eq!(fixture.store.unplanned(&source(), 1).await.unwrap().len(), 1);
    fixture.store.pass_over(&source(), entry).await.unwrap();
    // Not backwards, and not of another source.
    fixture.store.pass_over(&source(), good).await.unwrap();
    fixture.store.pass_over(&other_source(), later).await.unwrap();
    let fixture = fixture.crash().await;
    assert_eq!(fixture.unplanned(9).await[0].0, later);
    fixture.store.plan(&source(), vec![plan(later, vec![])]).await.unwrap();
    assert_eq!(fixture.unplanned(9).await, []);
    // Delivered at last: nothing is left to be repeated.
    fixture.store.revive(vec![stored(first(bad))]).await.unwrap();
    let lease = fixture.take_one().await;
    fixture.settle(&lease, ack()).await;
    fixture.accept(event().keyed("bad")).await;
    assert_eq!(fixture.unplanned(9).await, []);
}

#[tokio::test]
async fn a_dead_action_joins_the_end_of_its_lane_with_its_bytes() {
    let fixture = Fixture::new().await;
    let bad = died(&fixture, "bad").await;
    let other = fixture.planned("u", 1).await;
    let before = fixture.entry(bad).await.actions[0].clone();
    let ready = fixture.store.ready(&crate::harness::queue());
    let twice = vec![stored(first(bad)), stored(first(bad)), stored(first(other))];
    assert_eq!(fixture.store.revive(twice).await.unwrap(), [true, false, false]);
    ready.await;
    assert_eq!(dead(&fixture).await, []);
    assert_eq!(fixture.status(first(bad)).await, (PENDING, 1, Some("never".into())));
    let fixture = fixture.crash().await;
    let lease = fixture.take_one().await;
    assert_eq!(lease.action, first(other));
    fixture.settle(&lease, ack()).await;
    fixture.pass(SECOND);
    let lease = fixture.take_one().await;
    assert_eq!((lease.action, lease.attempt, lease.first_attempt), (first(bad), 2, None));
    assert_eq!(lease.record, before.action);
    fixture.settle(&lease, retry(SECOND)).await;
    fixture.pass(SECOND);
    let again = fixture.take_one().await;
    assert_eq!((again.attempt, again.first_attempt), (3, Some(fixture.now() - 1000)));
    fixture.settle(&again, ack()).await;
    let status = &fixture.entry(bad).await.actions[0];
    let codes = status.history.iter().map(|it| it.failure.as_ref().map(|it| it.code.as_str()));
    assert_eq!(codes.collect::<Vec<_>>(), [Some("never"), Some("later"), None]);
    let again = fixture.store.revive(vec![stored(first(bad))]).await.unwrap();
    assert_eq!(again, [false]);
}

#[tokio::test]
async fn a_failed_action_runs_with_what_it_is_rendered_into_now() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event()).await);
    let failed = NewAction { rendered: Err(reason("missing_field")), ..action("a") };
    fixture.store.plan(&source(), vec![plan(id, vec![failed])]).await.unwrap();
    assert_eq!(dead(&fixture).await, [first(id)]);
    assert_eq!(fixture.store.revive(vec![stored(first(id))]).await.unwrap(), [false]);
    let rendered = Revival { action: first(id), payload: Some("{}".into()) };
    let missing = stored(ActionId { index: 7, ..first(id) });
    let revived = fixture.store.revive(vec![rendered.clone(), rendered, missing]).await.unwrap();
    assert_eq!(revived, [true, false, false]);
    let fixture = fixture.reopen().await;
    let lease = fixture.take_one().await;
    assert_eq!((lease.action, lease.attempt), (first(id), 1));
    assert_eq!(lease.record.payload.as_deref(), Some(b"{}".as_slice()));
}

#[tokio::test]
async fn dead_letters_are_read_in_pages() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.push(first(died(&fixture, key).await));
    }
    assert_eq!(dead(&fixture).await, ids);
    let page = fixture.store.dead(&source(), Some(ids[0]), 1).await.unwrap();
    assert_eq!((page.len(), page[0].id, page[0].state), (1, ids[1], ActionState::Dead));
    assert_eq!(page[0], fixture.entry(ids[1].event).await.actions[0]);
    assert_eq!(fixture.store.dead(&source(), Some(ids[2]), 9).await.unwrap(), []);
    assert_eq!(fixture.store.dead(&other_source(), None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_replay_is_a_new_run_and_happens_once_under_its_name() {
    let fixture = Fixture::new().await;
    let id = fixture.planned("u", 1).await;
    let behind = fixture.planned("u", 1).await;
    let unplanned = new(fixture.accept(event()).await);
    let missing = EventId { millis: 5, ..id };
    let all = || [id, unplanned, missing, id].map(|id| plan(id, vec![action("z")])).to_vec();
    let (a, b) = (ReplayId([1; 16]), ReplayId([2; 16]));
    let runs = fixture.store.replay(a, all()).await.unwrap();
    assert_eq!(runs, [Some(1), None, None, None]);
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.replay(a, all()).await.unwrap(), [None; 4]);
    assert_eq!(fixture.store.replay(b, all()).await.unwrap(), [Some(2), None, None, None]);
    let entry = fixture.entry(id).await;
    let actions: Vec<_> = entry.actions.iter().map(|it| (it.id.run, &*it.action.mapping)).collect();
    assert_eq!(actions, [(0, "m0"), (1, "z"), (2, "z")]);
    let notes = vec![("m".to_owned(), "why not".to_owned())];
    let run = Planned { generation: 7, notes: notes.clone(), replays: vec![] };
    let replays = vec![(1, run.clone()), (2, run)];
    assert_eq!(entry.planned, Some(Planned { generation: 7, notes, replays }));
    // Behind what waited in the lane.
    let mut order = Vec::new();
    for _ in 0..4 {
        let lease = fixture.take_one().await;
        order.push((lease.action.event, lease.action.run));
        fixture.settle(&lease, ack()).await;
    }
    assert_eq!(order, [(id, 0), (behind, 0), (id, 1), (id, 2)]);
    // The planning position has not moved.
    assert_eq!(fixture.unplanned(9).await[0].0, unplanned);
}

#[tokio::test]
async fn what_fails_in_a_replay_is_a_dead_letter_too() {
    let fixture = Fixture::new().await;
    let id = fixture.planned("u", 0).await;
    let failed = NewAction { rendered: Err(reason("missing_field")), ..action("a") };
    let replayed = vec![plan(id, vec![failed])];
    fixture.store.replay(ReplayId([1; 16]), replayed).await.unwrap();
    assert_eq!(dead(&fixture).await, [ActionId { run: 1, ..first(id) }]);
}
