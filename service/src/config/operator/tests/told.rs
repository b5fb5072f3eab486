//! The state machine, by whole values.

use std::{collections::BTreeMap, sync::Arc};

use segment_source_core::source::SourceId;
use segment_source_proto::config::v1::{
    self as wire, Ack, Nack, WatchRequest, WatchResponse, watch_request::Request,
    watch_response::Response,
};

use super::super::told::{Heard, Kept, Told, Useless};
use crate::config::{
    Applied, REMOVED_FOR, Snapshot, State,
    memory::Known,
    operator::tests::server::{loaded, name, not_loaded, opened, removed, synced},
    tests::message,
};

const NOW: u64 = 1_000_000;

fn id(name: &str) -> SourceId {
    format!("prod/{name}").parse().unwrap()
}

/// Takes all of them on a stream of its own.
fn hear(told: &mut Told, responses: impl IntoIterator<Item = WatchResponse>) {
    told.begin();
    for response in responses {
        told.take(response, NOW).unwrap();
    }
}

/// Every source in a word: its generation, or what it is instead.
fn words(snapshot: &Snapshot) -> Vec<String> {
    let word = |(id, state): (&SourceId, &State)| match state {
        State::Loaded(source) => format!("{} {}", id.name(), source.generation),
        State::NotLoaded { reason } => format!("{} not loaded: {reason}", id.name()),
        State::RecentlyRemoved => format!("{} removed", id.name()),
    };
    snapshot.sources.iter().map(word).collect()
}

/// Puts a snapshot into service, but for these; gives the answers.
fn apply(told: &mut Told, snapshot: Snapshot, refused: &[(&str, &str)]) -> Vec<Request> {
    let refused = refused.iter().map(|(name, reason)| (id(name), (*reason).to_owned()));
    let applied = Applied { snapshot: Arc::new(snapshot), refused: Arc::new(refused.collect()) };
    let request = |it: WatchRequest| it.request.unwrap();
    told.applied(&applied).into_iter().map(request).collect()
}

fn ack(version: u64) -> Request {
    Request::Ack(Ack { version })
}

fn nack(version: u64, source: &str, reason: &str) -> Request {
    Request::Nack(Nack { version, source: Some(name(source)), reason: reason.to_owned() })
}

#[test]
fn a_stream_tells_names_then_states_then_changes() {
    let mut told = Told::default();
    told.begin();
    let mut take = |response| told.take(response, NOW);
    assert_eq!(take(opened(3, &["app", "web"])), Ok(Heard::Opened));
    assert_eq!(take(loaded(5, message("web", 1))), Ok(Heard::Changed));
    let snapshot = told.snapshot();
    let not_told = "app not loaded: the operator has not told its configuration yet";
    assert_eq!(words(&snapshot), [not_told, "web 1"]);
    assert_eq!((snapshot.version, snapshot.read, snapshot.synced), (1, false, false));
    // Not before everything was told.
    assert_eq!(apply(&mut told, snapshot, &[]), []);

    let mut take = |response| told.take(response, NOW);
    assert_eq!(take(not_loaded(6, "app", "wrong")), Ok(Heard::Changed));
    assert_eq!(take(synced(7)), Ok(Heard::Synced));
    let snapshot = told.snapshot();
    assert_eq!(words(&snapshot), ["app not loaded: wrong", "web 1"]);
    assert_eq!((snapshot.version, snapshot.read, snapshot.synced), (2, true, true));
    assert_eq!(apply(&mut told, snapshot, &[]), [ack(7)]);

    told.take(loaded(8, message("app", 1)), NOW).unwrap();
    told.take(removed(9, "web"), NOW).unwrap();
    let snapshot = told.snapshot();
    assert_eq!(words(&snapshot), ["app 1", "web removed"]);
    assert_eq!(apply(&mut told, snapshot, &[]), [ack(9)]);
    let known = Known { present: [id("app")].into(), removed: [(id("web"), NOW)].into() };
    assert_eq!((told.known(), told.epoch()), (&known, 3));
}

#[test]
fn a_lower_epoch_is_left_and_changes_nothing() {
    let mut told = Told::default();
    hear(&mut told, [opened(3, &["web"]), loaded(1, message("web", 1)), synced(1)]);
    let before = words(&told.snapshot());
    told.begin();
    let left = Err(Useless::OldEpoch { told: 2, seen: 3 });
    assert_eq!(told.take(opened(2, &[]), NOW), left);
    assert_eq!((words(&told.snapshot()), told.epoch()), (before, 3));
    // Nor after a restart.
    let mut told = Told::remembering(Kept { epoch: 3, ..Kept::default() });
    told.begin();
    assert_eq!(told.take(opened(2, &[]), NOW), left);
    // The same one again, and a later one, are heard.
    told.begin();
    assert_eq!(told.take(opened(3, &[]), NOW), Ok(Heard::Opened));
    told.begin();
    assert_eq!(told.take(opened(9, &[]), NOW), Ok(Heard::Opened));
    assert_eq!(told.epoch(), 9);
}

#[test]
fn what_opened_does_not_name_was_removed() {
    let mut told = Told::default();
    let all = [loaded(1, message("app", 1)), loaded(2, message("web", 1)), synced(2)];
    hear(&mut told, [opened(3, &["app", "web"])].into_iter().chain(all));
    hear(&mut told, [opened(3, &["new", "web"])]);
    let snapshot = told.snapshot();
    let not_told = "new not loaded: the operator has not told its configuration yet";
    assert_eq!(words(&snapshot), ["app removed", not_told, "web 1"]);
    // What is new is named, so nothing can exist that is not known.
    assert!(snapshot.synced);
    // It is forgotten after its time, and another time is its own.
    assert!(!told.pass(NOW + REMOVED_FOR - 1));
    assert!(told.pass(NOW + REMOVED_FOR));
    assert_eq!(words(&told.snapshot()), [not_told, "web 1"]);
    // One that comes back is back.
    hear(&mut told, [opened(4, &["new"]), opened_state("new")]);
    hear(&mut told, [opened(4, &["new", "web"]), loaded(1, message("web", 2))]);
    assert_eq!(words(&told.snapshot()), ["new 1", "web 2"]);
}

#[test]
fn what_was_in_a_namespace_that_cannot_be_read_stays_and_more_may_be_there() {
    let mut told = Told::default();
    let all = [loaded(1, message("app", 1)), loaded(2, message("web", 1)), synced(2)];
    hear(&mut told, [opened(3, &["app", "web"])].into_iter().chain(all));
    hear(&mut told, [unread(opened(4, &["web"]), &["prod"]), synced(0)]);
    let snapshot = told.snapshot();
    assert_eq!(words(&snapshot), ["app 1", "web 1"]);
    assert_eq!((snapshot.synced, snapshot.unread), (true, ["prod".to_owned()].into()));
    // Of another namespace that says nothing.
    hear(&mut told, [unread(opened(5, &["web"]), &["test"]), synced(0)]);
    assert_eq!(words(&told.snapshot()), ["app removed", "web 1"]);
    hear(&mut told, [opened(6, &[])]);
    let snapshot = told.snapshot();
    assert_eq!(words(&snapshot), ["app removed", "web removed"]);
    assert_eq!(snapshot.unread, [].into());
}

fn unread(mut opened: WatchResponse, namespaces: &[&str]) -> WatchResponse {
    if let Some(Response::Opened(opened)) = &mut opened.response {
        opened.unread_namespaces = namespaces.iter().map(|it| (*it).to_owned()).collect();
    }
    opened
}

fn opened_state(name: &str) -> WatchResponse {
    loaded(1, message(name, 1))
}

#[test]
fn nothing_unusable_replaces_what_was_good() {
    let mut told = Told::default();
    hear(&mut told, [opened(1, &["web"]), loaded(1, message("web", 1)), synced(1)]);
    let first = told.snapshot();
    assert_eq!(apply(&mut told, first, &[]), [ack(1)]);
    told.take(not_loaded(2, "web", "wrong"), NOW).unwrap();
    let mut of_another = loaded(3, message("other", 1));
    let mut of_no_kind = loaded(4, message("web", 1));
    let mut nameless = loaded(5, message("web", 1));
    if let Some(Response::State(state)) = &mut of_another.response {
        state.source = Some(name("web"));
    }
    if let Some(Response::State(state)) = &mut of_no_kind.response {
        (state.state, state.source) = (None, Some(name("new")));
    }
    if let Some(Response::State(state)) = &mut nameless.response {
        state.source = Some(wire::SourceName { namespace: "prod".into(), name: "No Name".into() });
    }
    for response in [of_another, of_no_kind, nameless] {
        told.take(response, NOW).unwrap();
    }
    let snapshot = told.snapshot();
    let of_no_kind = "it is of no kind that this replica knows; upgrade the replica";
    let new = format!("new not loaded: {of_no_kind}");
    assert_eq!(words(&snapshot), [new.as_str(), "web 1"]);
    assert_eq!(
        apply(&mut told, snapshot, &[]),
        [
            nack(3, "web", "it is the configuration of another source"),
            nack(4, "new", of_no_kind),
            nack(5, "No Name", "it has no name that this replica can use"),
            ack(5),
        ]
    );
}

#[test]
fn a_version_is_answered_by_the_snapshot_that_has_it() {
    let mut told = Told::default();
    let states = [loaded(1, message("app", 1)), loaded(2, message("web", 1)), synced(2)];
    hear(&mut told, [opened(1, &["app", "web"])].into_iter().chain(states));
    let first = told.snapshot();
    told.take(loaded(3, message("web", 2)), NOW).unwrap();
    told.take(loaded(4, message("web", 3)), NOW).unwrap();
    let second = told.snapshot();
    told.take(loaded(5, message("web", 4)), NOW).unwrap();
    let third = told.snapshot();
    let (web, app) = (("web", "too high"), ("app", "too high"));
    assert_eq!(apply(&mut told, first, &[app]), [nack(1, "app", "too high"), ack(2)]);
    // Only the newest of those in the snapshot; what was refused before is not refused again.
    assert_eq!(apply(&mut told, second.clone(), &[app, web]), [nack(4, "web", "too high"), ack(4)]);
    assert_eq!(apply(&mut told, second, &[app, web]), []);
    assert_eq!(apply(&mut told, third, &[app]), [ack(5)]);
    // A new stream is answered anew, by snapshots made on it.
    let old = told.snapshot();
    let states = [loaded(1, message("app", 1)), synced(1)];
    hear(&mut told, [opened(2, &["app", "web"])].into_iter().chain(states));
    assert_eq!(apply(&mut told, old, &[app]), []);
    let now = told.snapshot();
    assert_eq!(apply(&mut told, now, &[app]), [nack(1, "app", "too high"), ack(1)]);
}

#[test]
fn what_is_told_again_is_the_same() {
    let mut told = Told::default();
    let states = || [opened(1, &["web"]), loaded(1, message("web", 1)), synced(1)];
    hear(&mut told, states());
    let before = told.snapshot();
    hear(&mut told, states());
    let after = told.snapshot();
    let source = |snapshot: &Snapshot| match &snapshot.sources[&id("web")] {
        State::Loaded(source) => source.clone(),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&source(&before), &source(&after)));
}

#[test]
fn what_was_kept_is_served_and_more_may_exist() {
    let kept = |complete| Kept {
        epoch: 2,
        known: Known { present: [id("app"), id("web")].into(), removed: [(id("old"), NOW)].into() },
        sources: BTreeMap::from([(id("web"), Arc::new(message("web", 1)))]),
        complete,
    };
    let snapshot = Told::remembering(kept(true)).snapshot();
    let not_kept =
        "app not loaded: its configuration is not in the cache; the operator will tell it";
    assert_eq!(words(&snapshot), [not_kept, "old removed", "web 1"]);
    assert_eq!((snapshot.read, snapshot.synced), (true, false));
    assert!(!Told::remembering(kept(false)).snapshot().read);
}

#[test]
fn who_does_not_keep_to_the_protocol_is_left() {
    let mut told = Told::default();
    told.begin();
    for response in [synced(1), loaded(1, message("web", 1)), WatchResponse::default()] {
        assert!(matches!(told.take(response, NOW), Err(Useless::Protocol(_))));
    }
    told.take(opened(1, &[]), NOW).unwrap();
    assert!(matches!(told.take(opened(1, &[]), NOW), Err(Useless::Protocol(_))));
}
