//! The Admin service.

use prost_types::Timestamp;
use segment_source_proto::{
    admin::v1::{
        EventFilter, EventSummary, GetEventRequest, ListEventsRequest, ListSourcesRequest, Outcome,
        Progress, RehearseRequest, RehearsedMapping, SourceSummary, TailEventsRequest,
        TailEventsResponse, action::State, list_events_response::Response,
    },
    config::v1 as config,
    event::v1::Header,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Ingest, event_id, identify, line, mapping, source, submission, web};

fn list(filter: EventFilter) -> ListEventsRequest {
    ListEventsRequest {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        filter: Some(filter),
        limit: 0,
        before: String::new(),
    }
}

async fn search(
    ingest: &Ingest,
    request: ListEventsRequest,
) -> Result<(Vec<EventSummary>, Vec<Progress>), Status> {
    let mut answers = ingest.admin.clone().list_events(request).await?.into_inner();
    let (mut events, mut progress) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.message().await? {
        match answer.response.unwrap() {
            Response::Event(event) => events.push(event),
            Response::Progress(told) => progress.push(told),
        }
    }
    Ok((events, progress))
}

async fn keys(ingest: &Ingest, request: ListEventsRequest) -> Vec<String> {
    search(ingest, request).await.unwrap().0.into_iter().map(|event| event.key).collect()
}

/// Code and reason of an error, and the resource it names.
fn told(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "segment-source.dev");
    let resource = status.get_details_resource_info().map(|r| r.resource_name);
    (status.code(), info.reason, resource.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_searched_newest_first() {
    let mut ingest = Ingest::serve(&[web()]).await;
    ingest.plan();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(ingest.accept(identify(number)).await);
    }
    let track = r#"{"type":"track","event":"x","messageId":"t","anonymousId":"a"}"#;
    ingest.planned(&ingest.accept(submission(5, track)).await).await;
    let mut copy = identify(6);
    copy.body = identify(0).body;
    ingest.stream().await.submit(vec![copy, submission(7, "[]")]).await;

    let (events, progress) = search(&ingest, list(EventFilter::default())).await.unwrap();
    let lines: Vec<_> = events.iter().map(line).collect();
    let expected = |event_type: &str, key: &str, outcome: &str| {
        (event_type.to_owned(), key.to_owned(), outcome.to_owned())
    };
    assert_eq!(lines[0], expected("", "", "UNMAPPABLE"));
    assert_eq!(lines[1], expected("identify", "m0", "DUPLICATE"));
    assert_eq!(lines[2], expected("track/x", "t", "NO_ACTION"));
    assert_eq!(lines[3], expected("identify", "m4", "PENDING"));
    assert_eq!((lines.len(), progress), (8, Vec::new()));

    let by = |filter| keys(&ingest, list(filter));
    let filter = EventFilter { event_type: "track/x".into(), ..Default::default() };
    assert_eq!(by(filter).await, ["t"]);
    let filter = EventFilter { key: "m0".into(), ..Default::default() };
    assert_eq!(by(filter).await, ["m0", "m0"]);
    let filter = EventFilter { user: "u2".into(), ..Default::default() };
    assert_eq!(by(filter).await, ["m2"]);
    let filter = EventFilter { user: "a".into(), ..Default::default() };
    assert_eq!(by(filter).await, ["t"]);
    let filter = EventFilter { user: "user:u2".into(), ..Default::default() };
    assert_eq!(by(filter).await, [""; 0]);
    let filter = EventFilter { outcome: Outcome::Duplicate.into(), ..Default::default() };
    assert_eq!(by(filter).await, ["m0"]);
    let accepted = event_id(&ids[4]).millis + 1;
    let until = Timestamp {
        seconds: i64::try_from(accepted / 1_000).unwrap(),
        nanos: i32::try_from(accepted % 1_000 * 1_000_000).unwrap(),
    };
    let filter = EventFilter { until: Some(until), key: "m4".into(), ..Default::default() };
    assert_eq!(by(filter).await, ["m4"]);
    let filter = EventFilter { since: Some(until), key: "m4".into(), ..Default::default() };
    assert_eq!(by(filter).await, [""; 0]);

    let page = ListEventsRequest { limit: 2, before: ids[3].clone(), ..list(Default::default()) };
    assert_eq!(keys(&ingest, page).await, ["m2", "m1"]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_search_tells_how_far_it_has_come() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut stream = ingest.stream().await;
    for batch in 0..10 {
        stream.submit((batch * 250..(batch + 1) * 250).map(identify).collect()).await;
    }
    let filter = EventFilter { key: "m0".into(), ..Default::default() };
    let (events, progress) = search(&ingest, list(filter)).await.unwrap();
    assert_eq!(events.len(), 1);
    assert!(progress.len() >= 2, "{progress:?}");
    assert!(progress.is_sorted_by_key(|told| told.scanned));
    assert!(progress.iter().all(|told| told.reached.is_some()));

    let filter = EventFilter { key: "none".into(), ..Default::default() };
    let (events, progress) = search(&ingest, list(filter)).await.unwrap();
    assert_eq!((events.len(), progress.last().unwrap().scanned), (0, 2_500));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_are_read_piece_by_piece_and_end_no_search() {
    let ingest = Ingest::serve(&[web()]).await;
    let large = |number| {
        let filling = "x".repeat(5 << 20);
        submission(
            number,
            &format!(r#"{{"type":"identify","messageId":"m{number}","x":"{filling}"}}"#),
        )
    };
    for number in 0..3 {
        ingest.accept(large(number)).await;
    }
    assert_eq!(keys(&ingest, list(EventFilter::default())).await, ["m2", "m1", "m0"]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_not_found() {
    let ingest = Ingest::serve(&[web()]).await;
    let mut admin = ingest.admin.clone();
    let id = "019ac1f2b3c4-0000-0123456789abcdef";
    let status = admin.get_event(GetEventRequest { event_id: id.into() }).await.unwrap_err();
    assert_eq!(told(&status), (Code::NotFound, "EVENT_NOT_FOUND".into(), id.into()));
    let status = admin.get_event(GetEventRequest { event_id: "x".into() }).await.unwrap_err();
    assert_eq!(told(&status).0, Code::InvalidArgument);

    let missing = (Code::NotFound, "SOURCE_NOT_FOUND".to_owned(), "prod/nope".to_owned());
    let request = ListEventsRequest { name: "nope".into(), ..list(Default::default()) };
    assert_eq!(told(&search(&ingest, request).await.unwrap_err()), missing);
    let request = TailEventsRequest { namespace: "prod".into(), name: "nope".into() };
    assert_eq!(told(&admin.tail_events(request).await.unwrap_err()), missing);
    let request = RehearseRequest {
        namespace: "prod".into(),
        name: "nope".into(),
        ..RehearseRequest::default()
    };
    assert_eq!(told(&admin.rehearse(request).await.unwrap_err()), missing);

    // A configured source without events is there, and so is the log of one that was removed.
    assert_eq!(search(&ingest, list(Default::default())).await.unwrap().0, []);
    ingest.accept(identify(1)).await;
    ingest.configure(&[]);
    assert_eq!(keys(&ingest, list(Default::default())).await, ["m1"]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_begins_now_and_ends_with_the_process() {
    let ingest = Ingest::serve(&[web(), source("empty", Vec::new())]).await;
    ingest.accept(identify(1)).await;
    let mut admin = ingest.admin.clone();
    let request = TailEventsRequest { namespace: "prod".into(), name: "web".into() };
    let mut tail = admin.tail_events(request).await.unwrap().into_inner();
    let request = TailEventsRequest { namespace: "prod".into(), name: "empty".into() };
    let mut empty = admin.tail_events(request).await.unwrap().into_inner();
    let mut elsewhere = identify(4);
    elsewhere.name = "empty".to_owned();
    for submission in [identify(2), elsewhere, identify(3)] {
        ingest.accept(submission).await;
    }
    let key = |answer: Option<TailEventsResponse>| answer.unwrap().event.unwrap().key;
    assert_eq!(key(tail.message().await.unwrap()), "m2");
    assert_eq!(key(tail.message().await.unwrap()), "m3");
    assert_eq!(key(empty.message().await.unwrap()), "m4");

    ingest.draining.cancel();
    let status = tail.message().await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "DRAINING".into(), String::new()));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_are_listed_by_name() {
    let ingest = Ingest::serve(&[web(), source("app", Vec::new())]).await;
    let answer = ingest.admin.clone().list_sources(ListSourcesRequest {}).await.unwrap();
    let summary = |name: &str, mappings| SourceSummary {
        namespace: "prod".into(),
        name: name.into(),
        generation: 1,
        mappings,
        destinations: vec!["default".into()],
        delivery_suspended: false,
    };
    assert_eq!(answer.into_inner().sources, [summary("app", 0), summary("web", 1)]);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_tells_of_every_mapping() {
    let path = |path: &str| config::parameter::Source::Path(path.to_owned());
    let id = [("id", path("body.userId"))];
    let delete = |name: &str| mapping(name, "identify", "users_delete", &id);
    let mut web = web();
    web.processing.as_mut().unwrap().mappings.extend([
        config::Mapping { disabled: true, ..delete("off") },
        config::Mapping { when: Some("body.userId == 'x'".into()), ..delete("picky") },
        mapping("other", "track/x", "users_delete", &id),
        mapping("wanting", "identify", "users_delete", &[("id", path("headers.nope"))]),
        mapping("deaf", "identify", "users_delete", &[("id", path("headers.x-signature"))]),
        mapping("mute", "identify", "users_delete", &[("id", path("headers.proxy-authorization"))]),
        mapping("heard", "identify", "users_delete", &[("id", path("headers.x-user"))]),
    ]);
    let ingest = Ingest::serve(&[web]).await;
    let header = |name: &str| Header { name: name.into(), value: "v".into() };
    let request = RehearseRequest {
        namespace: "prod".into(),
        name: "web".into(),
        body: identify(1).body,
        headers: vec![header("X-User"), header("X-Signature"), header("Proxy-Authorization")],
    };
    let mut admin = ingest.admin.clone();
    let answer = admin.rehearse(request.clone()).await.unwrap().into_inner();

    assert_eq!((answer.event_type.as_str(), answer.key.as_str()), ("identify", "m1"));
    assert_eq!((answer.order_key.as_str(), answer.unmappable.as_str()), ("user:u1", ""));
    let of = |name: &str| answer.mappings.iter().find(|m| m.mapping == name).unwrap();
    assert_eq!(answer.mappings.len(), 8);
    let action = |mapping: &RehearsedMapping| {
        let action = mapping.action.as_ref().unwrap();
        (action.state(), String::from_utf8(action.payload_json.to_vec()).unwrap())
    };
    let identified = r#"{"id":"u1","email":"u1@example.com"}"#.to_owned();
    assert_eq!(action(of("profile")), (State::Pending, identified));
    assert_eq!(action(of("heard")), (State::Pending, r#"{"id":"v"}"#.to_owned()));
    assert_eq!(action(of("wanting")), (State::Failed, String::new()));
    assert_eq!(action(of("deaf")), (State::Failed, String::new()));
    assert_eq!(action(of("mute")), (State::Failed, String::new()));
    for (name, reason) in
        [("off", "disabled"), ("other", "event type is `identify`, this mapping wants `track/x`")]
    {
        let expected = RehearsedMapping {
            mapping: name.to_owned(),
            matched: false,
            reason: reason.to_owned(),
            action: None,
        };
        assert_eq!(of(name), &expected);
    }
    assert!(!of("picky").matched && !of("picky").reason.is_empty());

    let unreadable = RehearseRequest { body: "{".into(), ..request };
    let answer = admin.rehearse(unreadable).await.unwrap().into_inner();
    assert_ne!(answer.unmappable, "");
    assert!(answer.mappings.iter().all(|m| !m.matched && m.reason.contains(&answer.unmappable)));
    ingest.stop().await;
}
