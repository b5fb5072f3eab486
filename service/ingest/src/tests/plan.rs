//! The planner, beside a store and a changing configuration.

use segment_source_proto::{
    admin::v1::{GetEventResponse, Outcome},
    config::v1::{self as config, parameter},
};

use super::{Ingest, identify, mapping, source, source_id, submission, web};

fn path(path: &str) -> parameter::Source {
    parameter::Source::Path(path.to_owned())
}

fn outcome(event: &GetEventResponse) -> Outcome {
    event.event.as_ref().unwrap().outcome()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_actions_and_notes() {
    let mut web = web();
    let processing = web.processing.as_mut().unwrap();
    processing.mappings.push(config::Mapping {
        when: Some("body.traits.email == 'nobody@example.com'".to_owned()),
        ..mapping("picky", "identify", "users_identify", &[("id", path("body.userId"))])
    });
    processing.mappings.push(config::Mapping {
        disabled: true,
        ..mapping("off", "identify", "users_delete", &[("id", path("body.userId"))])
    });
    let wanting = mapping("wanting", "identify", "users_identify", &[("id", path("body.nope"))]);
    processing.mappings.push(wanting);
    let other = mapping("other", "track/x", "users_identify", &[("id", path("body.userId"))]);
    processing.mappings.push(other);
    let mut ingest = Ingest::serve(&[web]).await;
    ingest.plan();

    let id = ingest.accept(identify(1)).await;
    let event = ingest.planned(&id).await;

    assert_eq!(outcome(&event), Outcome::Failed);
    let subjects: Vec<&str> = event.notes.iter().map(|note| note.subject.as_str()).collect();
    assert_eq!(subjects, ["picky", "off"], "{:?}", event.notes);
    let actions: Vec<_> = event
        .actions
        .iter()
        .map(|a| (a.mapping.as_str(), a.state().as_str_name(), a.reason_code.as_str()))
        .collect();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(actions[0], ("profile", "STATE_PENDING", ""));
    assert_eq!((actions[1].0, actions[1].1), ("wanting", "STATE_FAILED"));
    assert_ne!(actions[1].2, "");
    let leased = ingest.take("default").await;
    assert_eq!(leased.len(), 1);
    let payload = leased[0].record.payload.clone().unwrap();
    assert_eq!(payload, r#"{"id":"u1","email":"u1@example.com"}"#);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preprocess_runs_again_with_the_newest_configuration() {
    let with = |generation, expression: &str| {
        let fields = [("id", path("preprocess.id"))];
        let mut source = source("web", vec![mapping("p", "identify", "users_identify", &fields)]);
        source.generation = generation;
        source.processing.as_mut().unwrap().preprocess =
            vec![config::Preprocess { name: "id".into(), expression: expression.into() }];
        source
    };
    let mut ingest = Ingest::serve(&[with(1, "body.userId + '-old'")]).await;
    let id = ingest.accept(identify(1)).await;
    ingest.configure(&[with(2, "body.userId + '-new'")]);
    ingest.plan();
    let event = ingest.planned(&id).await;
    assert_eq!(event.planned_generation, Some(2));
    assert_eq!(event.actions[0].payload_json, r#"{"id":"u1-new"}"#);

    ingest.configure(&[with(3, "body.nothing")]);
    let id = ingest.accept(identify(2)).await;
    let event = ingest.planned(&id).await;
    assert_eq!(event.notes.len(), 1, "{:?}", event.notes);
    assert_eq!(outcome(&event), Outcome::Failed);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_a_configuration_that_can_plan_them() {
    let mut suspended = web();
    suspended.processing.as_mut().unwrap().delivery_suspended = true;
    let witness = source("witness", Vec::new());
    let mut ingest = Ingest::serve(&[suspended.clone(), witness.clone()]).await;
    ingest.plan();
    let id = ingest.accept(identify(1)).await;
    // When the witness is planned, the one before it has been parked or planned.
    let witnessed = async |number| {
        let mut other = identify(number);
        other.name = "witness".to_owned();
        ingest.planned(&ingest.accept(other).await).await;
        outcome(&ingest.event(&id).await)
    };
    assert_eq!(witnessed(2).await, Outcome::Waiting);
    ingest.configure(std::slice::from_ref(&witness));
    assert_eq!(witnessed(3).await, Outcome::Waiting);
    ingest.configure(&[suspended, witness.clone()]);
    assert_eq!(witnessed(4).await, Outcome::Waiting);

    ingest.configure(&[web(), witness]);
    let event = ingest.planned(&id).await;
    assert_eq!((outcome(&event), event.actions.len()), (Outcome::Pending, 1));
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_planned_in_order_and_beside_other_sources() {
    let names: Vec<String> = (0..20).map(|number| format!("other-{number}")).collect();
    let mut sources: Vec<_> = names.iter().map(|name| source(name, Vec::new())).collect();
    sources.push(web());
    let mut ingest = Ingest::serve(&sources).await;
    let mut stream = ingest.stream().await;
    let of_one_user = |number: u64| {
        let body = format!(r#"{{"type":"identify","messageId":"{number}","userId":"u"}}"#);
        submission(number, &body)
    };
    for batch in 0..5 {
        stream.submit((batch * 200..(batch + 1) * 200).map(of_one_user).collect()).await;
    }
    let mut others = Vec::new();
    for (number, name) in (10_000..).zip(&names) {
        let mut other = identify(number);
        other.name.clone_from(name);
        others.push(ingest.accept(other).await);
    }
    let last = ingest.accept(of_one_user(1_000)).await;

    ingest.plan();

    assert_eq!(outcome(&ingest.planned(&last).await), Outcome::Pending);
    for id in others {
        assert_eq!(outcome(&ingest.planned(&id).await), Outcome::NoAction);
    }
    assert!(ingest.store.unplanned(&source_id("prod/web"), 10).await.unwrap().is_empty());
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_are_planned_over_several_turns() {
    let fields = [("id", path("body.userId")), ("properties", path("body.traits"))];
    let copies = ["a", "b"].map(|name| mapping(name, "identify", "users_identify", &fields));
    let mut ingest = Ingest::serve(&[source("web", copies.to_vec())]).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        let text = "x".repeat(3 << 20);
        let traits = format!(r#"{{"type":"identify","userId":"u","traits":{{"t":"{text}"}}}}"#);
        ids.push(ingest.accept(submission(number, &traits)).await);
    }
    ingest.plan();
    for id in ids {
        let event = ingest.planned(&id).await;
        assert_eq!((outcome(&event), event.actions.len()), (Outcome::Pending, 2));
    }
    ingest.stop().await;
}
