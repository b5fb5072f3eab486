//! Planning: what waits for it, what it writes, and that it happens once.

use segment_source_core::event::ActionId;
use segment_source_store::{Action, ActionState, ActionStatus, NewAction, Planned};

use crate::harness::{
    DAY, Fixture, NewEventExt as _, action, event, new, other_source, plan, reason, source,
};

#[tokio::test]
async fn entries_wait_in_log_order_until_they_are_planned() {
    let fixture = Fixture::new().await;
    let batch = vec![event(), event(), event()];
    let batch = batch.into_iter().map(|one| one.of_user("u")).collect::<Vec<_>>();
    let accepted = fixture.store.accept(batch.clone()).await.unwrap();
    let ids: Vec<_> = accepted.into_iter().map(new).collect();
    let waiting = fixture.unplanned(2).await;
    let expected: Vec<_> =
        ids.iter().copied().zip(batch.into_iter().map(|one| one.event)).collect();
    assert_eq!(waiting, expected[..2]);
    let planned = vec![plan(ids[0], vec![]), plan(ids[1], vec![])];
    fixture.store.plan(&source(), planned).await.unwrap();
    assert_eq!(fixture.unplanned(9).await, expected[2..]);
    assert_eq!(fixture.store.unplanned(&other_source(), 9).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_needs_no_plan_is_passed_over_for_good() {
    let fixture = Fixture::new().await;
    let a = new(fixture.accept(event().keyed("a")).await);
    fixture.store.accept(vec![event().keyed("a"), event().unmappable()]).await.unwrap();
    let b = new(fixture.accept(event()).await);
    let waiting = fixture.unplanned(9).await;
    assert_eq!(waiting.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [a, b]);
    fixture.store.plan(&source(), vec![plan(a, vec![]), plan(b, vec![])]).await.unwrap();
    fixture.store.accept(vec![event().keyed("a"), event().unmappable()]).await.unwrap();
    assert_eq!(fixture.unplanned(9).await, []);
    // The cursor has moved over them: nothing is left to look at after opening.
    let fixture = fixture.reopen().await;
    new(fixture.accept(event().of_source(other_source())).await);
    assert_eq!(fixture.store.unplanned_sources().await, [other_source()]);
}

#[tokio::test]
async fn sources_with_something_to_plan_are_told_once_and_again_after_opening() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event()).await);
    new(fixture.accept(event().of_source(other_source())).await);
    let mut sources = fixture.store.unplanned_sources().await;
    sources.sort();
    assert_eq!(sources, [other_source(), source()]);
    fixture.store.mark_unplanned(&source());
    assert_eq!(fixture.store.unplanned_sources().await, [source()]);
    fixture.store.plan(&source(), vec![plan(id, vec![])]).await.unwrap();
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.unplanned_sources().await, [other_source()]);
}

#[tokio::test]
async fn a_plan_is_found_with_its_event() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event()).await);
    assert_eq!(fixture.entry(id).await.planned, None);
    let failed = NewAction { rendered: Err(reason("missing_field")), ..action("b") };
    let planned = vec![plan(id, vec![action("a"), failed])];
    fixture.store.plan(&source(), planned).await.unwrap();
    let entry = fixture.entry(id).await;
    let notes = vec![("m".into(), "why not".into())];
    assert_eq!(entry.planned, Some(Planned { generation: 7, notes, replays: Vec::new() }));
    let a = Action {
        mapping: "a".into(),
        action_type: "users_identify".into(),
        destination: "default".into(),
        event_type: "track/a".into(),
        event_timestamp: "2027-01-15T08:00:00Z".into(),
        payload: Some(r#"{"by":"a"}"#.into()),
    };
    let b = Action { mapping: "b".into(), payload: None, ..a.clone() };
    let status = |index, action, state, reason| ActionStatus {
        id: ActionId { event: id, run: 0, index },
        action,
        state,
        attempts: 0,
        reason,
        history: Vec::new(),
        answer: String::new(),
    };
    assert_eq!(
        entry.actions,
        [
            status(0, a, ActionState::Pending { not_before: None }, None),
            status(1, b, ActionState::Failed, Some(reason("missing_field"))),
        ]
    );
    // Only the rendered one can be taken.
    assert_eq!(fixture.take(9).await.len(), 1);
}

#[tokio::test]
async fn planning_twice_changes_nothing() {
    let fixture = Fixture::new().await;
    let id = new(fixture.accept(event()).await);
    let planned = || vec![plan(id, vec![action("a")])];
    let twice = [planned(), vec![plan(id, vec![action("b"), action("c")])]].concat();
    fixture.store.plan(&source(), twice).await.unwrap();
    fixture.store.plan(&source(), planned()).await.unwrap();
    let fixture = fixture.reopen().await;
    fixture.store.plan(&source(), planned()).await.unwrap();
    let actions = fixture.entry(id).await.actions;
    assert_eq!(actions.len(), 1);
    assert_eq!(fixture.take(9).await.len(), 1);
    assert_eq!(fixture.take(9).await.len(), 0);
}

#[tokio::test]
async fn a_plan_may_come_days_later() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event()).await);
    fixture.pass(3 * DAY);
    let second = new(fixture.accept(event()).await);
    let fixture = fixture.reopen().await;
    let planned = vec![plan(first, vec![action("a")]), plan(second, vec![action("a")])];
    fixture.store.plan(&source(), planned).await.unwrap();
    let events: Vec<_> = fixture.take(9).await.iter().map(|lease| lease.action.event).collect();
    assert_eq!(events, [first, second]);
}
