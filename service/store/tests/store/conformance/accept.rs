//! Claims: what is new and what is a duplicate, for how long, and in which order it is found.

use std::time::Duration;

use segment_source_core::event::Event;
use segment_source_store::{Accepted, RECEIPT_WINDOW};

use crate::harness::{
    Fixture, HOUR, NewEventExt as _, START, TICK, WINDOW, event, millis, new, original,
    other_source, receipt,
};

#[tokio::test]
async fn a_repeat_is_a_duplicate_in_the_same_batch_and_in_a_later_one() {
    let fixture = Fixture::new().await;
    let batch = vec![event().keyed("a"), event().keyed("b"), event().keyed("a")];
    let accepted = fixture.store.accept(batch).await.unwrap();
    let (a, b) = (new(accepted[0]), new(accepted[1]));
    assert!(a < b);
    assert_eq!(original(accepted[2]), a);
    assert_eq!(original(fixture.accept(event().keyed("b")).await), b);
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_after_reopening() {
    let fixture = Fixture::new().await;
    let a = new(fixture.accept(event().keyed("a")).await);
    let fixture = fixture.reopen().await;
    assert_eq!(original(fixture.accept(event().keyed("a")).await), a);
    let fixture = fixture.crash().await;
    assert_eq!(original(fixture.accept(event().keyed("a")).await), a);
}

#[tokio::test]
async fn a_duplicate_keeps_its_description_but_no_content() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event().keyed("a")).await);
    let again = event().keyed("a").of_user("u");
    let Accepted::Duplicate { entry, .. } = fixture.accept(again.clone()).await else {
        panic!("it is new")
    };
    let found = fixture.entry(entry).await;
    assert_eq!(found.duplicate_of, Some(first));
    assert_eq!(found.event, Event { headers: vec![], body: "".into(), ..again.event });
}

#[tokio::test]
async fn the_scope_is_source_and_event_type() {
    let fixture = Fixture::new().await;
    new(fixture.accept(event().keyed("a")).await);
    new(fixture.accept(event().keyed("a").of_type("track/b")).await);
    new(fixture.accept(event().keyed("a").of_source(other_source())).await);
    let untyped = new(fixture.accept(event().keyed("a").unmappable()).await);
    assert_eq!(original(fixture.accept(event().keyed("a").unmappable()).await), untyped);
}

#[tokio::test]
async fn the_window_ends_when_it_should_and_does_not_slide() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event().keyed("a")).await);
    fixture.pass(WINDOW / 2);
    assert_eq!(original(fixture.accept(event().keyed("a")).await), first);
    fixture.set_clock(START + millis(WINDOW) - 1);
    assert_eq!(original(fixture.accept(event().keyed("a")).await), first);
    fixture.set_clock(START + millis(WINDOW));
    let second = new(fixture.accept(event().keyed("a")).await);
    assert_eq!(original(fixture.accept(event().keyed("a")).await), second);
}

#[tokio::test]
async fn a_changed_window_is_for_keys_to_come() {
    let fixture = Fixture::new().await;
    new(fixture.accept(event().keyed("a").window(HOUR)).await);
    fixture.pass(HOUR / 2);
    original(fixture.accept(event().keyed("a").window(3 * HOUR)).await);
    fixture.pass(HOUR / 2);
    new(fixture.accept(event().keyed("a").window(3 * HOUR)).await);
    fixture.pass(3 * HOUR - TICK);
    original(fixture.accept(event().keyed("a").window(HOUR)).await);
    fixture.pass(TICK);
    new(fixture.accept(event().keyed("a").window(HOUR)).await);
}

#[tokio::test]
async fn the_same_submission_is_stored_once() {
    let fixture = Fixture::new().await;
    for one in [event(), event().keyed("a")] {
        let first = new(fixture.accept(one.clone()).await);
        assert_eq!(new(fixture.accept(one.clone()).await), first);
        let copies = fixture.store.accept(vec![one.clone(), one]).await.unwrap();
        assert_eq!(copies, [Accepted::New(first); 2]);
    }
    let entries = fixture.unplanned(10).await;
    assert_eq!(entries.len(), 2);
}

#[tokio::test]
async fn events_without_key_are_never_duplicates_of_one_another() {
    let fixture = Fixture::new().await;
    let one = event();
    let first = new(fixture.accept(one.clone()).await);
    let second = new(fixture.accept(one.clone().change(|one| one.receipt = receipt())).await);
    assert_ne!(first, second);
    fixture.pass(RECEIPT_WINDOW - TICK);
    assert_eq!(new(fixture.accept(one.clone()).await), first);
    fixture.pass(TICK);
    assert_ne!(new(fixture.accept(one).await), first);
    // A key without a window: deduplication is off.
    let keyed = |_| event().keyed("a").change(|one| one.window = None);
    assert_ne!(new(fixture.accept(keyed(1)).await), new(fixture.accept(keyed(2)).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_copies_one_is_accepted() {
    let fixture = Fixture::new().await;
    let copies = (0..64).map(|_| {
        let store = fixture.store.clone();
        tokio::spawn(async move { store.accept(vec![event().keyed("a")]).await.unwrap()[0] })
    });
    let mut accepted = Vec::new();
    for copy in copies.collect::<Vec<_>>() {
        accepted.push(copy.await.unwrap());
    }
    let (new, duplicates): (Vec<_>, Vec<_>) =
        accepted.into_iter().partition(|one| matches!(one, Accepted::New(_)));
    let [Accepted::New(first)] = new[..] else { panic!("{new:?} were accepted") };
    assert_eq!(duplicates.len(), 63);
    assert!(duplicates.into_iter().all(|one| original(one) == first));
}

#[tokio::test]
async fn a_call_has_its_place_once_it_is_polled() {
    let fixture = Fixture::new().await;
    let (first, second) = tokio::join!(
        biased;
        fixture.accept(event().keyed("a")),
        fixture.accept(event().keyed("a")),
    );
    assert_eq!(original(second), new(first));
}

#[tokio::test]
async fn ids_grow_when_the_clock_steps_back() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event()).await);
    fixture.set_clock(START - millis(HOUR));
    let second = new(fixture.accept(event()).await);
    let fixture = fixture.crash().await;
    let third = new(fixture.accept(event()).await);
    assert!(first < second && second < third);
    let entries = fixture.unplanned(10).await;
    let ids: Vec<_> = entries.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [first, second, third]);
}

#[tokio::test]
async fn a_window_holds_when_the_clock_steps_back() {
    let fixture = Fixture::new().await;
    let first = new(fixture.accept(event().keyed("a").window(HOUR)).await);
    fixture.set_clock(START - millis(HOUR));
    assert_eq!(original(fixture.accept(event().keyed("a")).await), first);
    let second = new(fixture.accept(event().keyed("b").window(HOUR)).await);
    fixture.pass(HOUR - TICK);
    assert_eq!(original(fixture.accept(event().keyed("b")).await), second);
    // It may last longer by the step.
    fixture.pass(HOUR + TICK);
    new(fixture.accept(event().keyed("b")).await);
}

#[tokio::test]
async fn more_events_than_a_millisecond_has_ids_for() {
    let fixture = Fixture::new().await;
    let mut last = None;
    for _ in 0..70 {
        let batch = (0..1000).map(|_| event().change(|one| one.event.body = "".into())).collect();
        for accepted in fixture.store.accept(batch).await.unwrap() {
            let id = Some(new(accepted));
            assert!(id > last);
            last = id;
        }
    }
    assert!(last.unwrap().millis > START);
}

#[tokio::test]
async fn a_window_is_never_shorter_than_asked_and_at_most_half_longer() {
    let fixture = Fixture::new().await;
    for (n, asked) in [61, 100, 3_600, 5_000, 86_400, 100_000, 2_592_000].into_iter().enumerate() {
        let window = Duration::from_secs(asked);
        let copy = || event().keyed(&n.to_string()).window(window);
        let first = new(fixture.accept(copy()).await);
        fixture.pass(window - TICK);
        assert_eq!(original(fixture.accept(copy()).await), first);
        fixture.pass(window / 2 + TICK);
        new(fixture.accept(copy()).await);
    }
}
