//! `explain`: the story of an event as people read it.

use std::sync::atomic::{AtomicUsize, Ordering};

use segment_source_proto::admin::v1::action::State;
use segment_source_tests::{
    command::run,
    server::Server,
    sign::{fresh_id, track},
    sink::{Answer, Asked, Sink},
    site::Site,
};
use serde_json::json;

use crate::deliver_http::{send, spec, start, until};

/// What it prints, with runs of spaces as one.
async fn explain(server: &Server, event: &str) -> String {
    let grpc = server.grpc.to_string();
    let finished =
        run(&["explain", event, "--source", "test/web", "--server", &grpc]).await.exits(0);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    finished.said().lines().map(squeezed).collect::<Vec<_>>().join("\n")
}

fn says(story: &str, lines: &[&str]) {
    let mut rest = story;
    for line in lines {
        let Some((_, after)) = rest.split_once(line) else {
            panic!("no {line:?} (in this order) in:\n{story}")
        };
        rest = after;
    }
}

#[tokio::test]
async fn each_mapping_and_attempt_is_told_and_what_to_do_next() {
    let asked = AtomicUsize::new(0);
    let answer = move |_: &Asked| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::status(503),
        _ => Answer::status(200),
    };
    let sink = Sink::with(None, answer).await;
    let mut spec = spec(&[("crm", json!({"url": sink.url("/")}))]);
    let mut other = spec["mappings"][0].clone();
    other["name"] = json!("people");
    other["eventType"] = json!("identify");
    let mut picky = spec["mappings"][0].clone();
    picky["name"] = json!("pro-only");
    picky["when"] = json!("body.properties.plan == \"pro\"");
    let mappings = spec["mappings"].as_array_mut().expect("mappings");
    mappings.extend([other, picky]);
    let site = Site::with_web(spec);
    let server = start(&site).await;

    let id = send(&server, "user-1").await;
    until(&server, &id, State::Delivered).await;
    let story = explain(&server, &id).await;
    says(
        &story,
        &[
            "by test/web\n",
            "is track/Signed Up of user:user-1\n",
            "signature right, made over the whole body\n",
            &format!("repeats nothing: the first with the messageId {id} within the window\n"),
            "MAPPINGS\n",
            "to-crm made an action\n",
            "pro-only",
            "people did not match: ",
            "ACTION users_identify by to-crm to http crm\n",
            "state delivered, 2 attempts\n",
            "answer 200",
            "attempt",
            "503",
            "attempt",
            "done\n",
            "NEXT\n",
            "Nothing. To run it once more: ",
            &format!(" replay --source test/web --key {id} --server {}", server.grpc),
        ],
    );

    // The same again is a repeat, and said to be one.
    let event = track(&id, "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", event).await.counts(), (0, 1));
    let story = explain(&server, &id).await;
    says(&story, &["EVENT ", "EVENT ", "so its mappings were not run again", "NEXT\nNothing."]);
}

#[tokio::test]
async fn what_did_not_work_is_told_with_the_command_to_run() {
    let sink = Sink::with(None, |_| Answer::status(400)).await;
    let site = Site::with_web(spec(&[("crm", json!({"url": sink.url("/")}))]));
    let server = start(&site).await;
    let dead = send(&server, "user-1").await;
    until(&server, &dead, State::Dead).await;
    says(
        &explain(&server, &dead).await,
        &[
            "state dead, 1 attempt\n",
            "why ",
            "400",
            "NEXT\nMend the cause, then: ",
            " replay --dead --source test/web --key ",
        ],
    );

    let other = fresh_id();
    let event = track(&other, "user-2", "Something Else").to_string();
    assert_eq!(server.post("web", event).await.counts(), (1, 0));
    server.planned_one("web", &other).await;
    says(
        &explain(&server, &other).await,
        &["to-crm did not match: ", "NEXT\nNothing runs for it.", "track/Something Else"],
    );

    let grpc = server.grpc.to_string();
    let asked = ["explain", "no-such-id", "--source", "test/web", "--server", &grpc];
    let said = run(&asked).await.exits(1).said();
    assert!(said.contains("has no event with the messageId (or id) \"no-such-id\""), "{said}");
    assert!(said.contains(" events list --source test/web --server "), "{said}");
}
