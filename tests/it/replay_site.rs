//! What the tests of running again share: commands to a server, and a sink by whose requests one
//! sees what ran. No tests.

use segment_source_proto::admin::v1::{Action, action::State};
use segment_source_tests::{
    command::{Finished, run},
    server::Server,
    sign::track,
    sink::Asked,
    wait::eventually,
};
use serde_json::{Value, json};

/// Runs a command on a server; `{server}` is where it is.
pub(crate) async fn command(server: &Server, words: &[&str]) -> Finished {
    let grpc = server.grpc.to_string();
    run(&[words, &["--server", &grpc]].concat()).await
}

/// `replay` of the source `web`.
pub(crate) async fn replay(server: &Server, flags: &[&str]) -> Finished {
    command(server, &[&["replay", "--source", "test/web"], flags].concat()).await
}

/// The report of a `replay` that has to succeed: found, done, skipped.
pub(crate) async fn report(server: &Server, flags: &[&str]) -> (u64, u64, u64) {
    let flags = [flags, &["--output", "json"]].concat();
    let report = replay(server, &flags).await.exits(0).json_lines().remove(0);
    let number = |name: &str| report[name].as_u64().expect("a number");
    (number("found"), number("done"), number("skipped"))
}

/// How many a dry run finds.
pub(crate) async fn counted(server: &Server, flags: &[&str]) -> u64 {
    let (found, done, skipped) = report(server, &[flags, &["--dry-run"]].concat()).await;
    assert_eq!((done, skipped), (0, 0), "a dry run runs nothing");
    found
}

/// Sends an event with a number.
pub(crate) async fn send(server: &Server, id: &str, user: &str, n: usize) {
    let mut event = track(id, user, "Signed Up");
    event["properties"]["n"] = json!(n);
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
}

/// Waits until all actions of the events are `state`; the actions.
pub(crate) async fn all(server: &Server, ids: &[String], state: State) -> Vec<Action> {
    let mut actions = Vec::new();
    for id in ids {
        let done = || async {
            let event = server.planned(WEB, id).await.pop()?;
            let all = event.actions.iter().all(|action| action.state() == state);
            (all && !event.actions.is_empty()).then_some(event.actions)
        };
        actions.extend(eventually(&format!("{id} is {state:?}"), done).await);
    }
    actions
}

const WEB: &str = "web";

/// The number in what was posted.
pub(crate) fn number(asked: &Asked) -> Value {
    asked.json()["data"]["n"].clone()
}

/// `prefix-0`, `prefix-1` and so on.
pub(crate) fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}
