//! Events that are sent again inside the window: what failed or died of them runs again, and
//! nothing else.

use segment_source_proto::admin::v1::{ListSourcesRequest, action::State};
use segment_source_tests::{
    manifest::source,
    server::Server,
    sign::track,
    sink::{Answer, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{
    deliver_http::{spec, start},
    replay_site::{all, number, send},
};

/// Applies a spec that has one mapping more, and waits until it is used.
async fn apply(site: &Site, server: &Server, mut spec: Value) {
    let more = json!({
        "name": "more",
        "eventType": "screen",
        "action": {"usersIdentify": {"id": {"path": "body.userId"}}},
    });
    let mappings = spec["mappings"].as_array_mut().expect("mappings");
    mappings.push(more);
    let count = u32::try_from(mappings.len()).expect("few");
    site.write("web.yaml", &[source("web", spec)]);
    let admin = server.admin().await;
    eventually("the edit is used", || {
        let mut admin = admin.clone();
        async move {
            let sources = admin.list_sources(ListSourcesRequest {}).await.expect("sources");
            sources.into_inner().sources.iter().any(|it| it.mappings == count).then_some(())
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeat_runs_the_dead_action_again_with_its_stored_bytes_and_no_other() {
    let failing = Sink::with(None, |_| Answer::status(400)).await;
    let good = Sink::start().await;
    let destinations =
        [("crm", json!({"url": failing.url("/")})), ("up", json!({"url": good.url("/")}))];
    let site = Site::with_web(spec(&destinations));
    let server = start(&site).await;
    send(&server, "m-1", "user-1", 1).await;
    let dead = failing.until(1).await.remove(0);
    good.until(1).await;
    eventually("one is dead, one delivered", || async {
        let states: Vec<_> =
            server.planned_one("web", "m-1").await.actions.iter().map(|it| it.state()).collect();
        (states == [State::Dead, State::Delivered]).then_some(())
    })
    .await;

    // Rendered now, it would be something else.
    let mut other = spec(&destinations);
    for mapping in other["mappings"].as_array_mut().expect("mappings") {
        mapping["action"]["usersIdentify"]["name"] = json!({"value": "Somebody"});
    }
    apply(&site, &server, other).await;
    failing.answer(|_| Answer::status(200));
    let mut copy = track("m-1", "user-1", "Signed Up");
    copy["properties"]["n"] = json!(2);
    assert_eq!(server.post("web", copy.to_string()).await.counts(), (0, 1));
    let again = failing.until(2).await.remove(1);
    assert_eq!(again.body, dead.body);
    assert_eq!(again.header("idempotency-key"), dead.header("idempotency-key"));
    let events = eventually("it is delivered", || async {
        let events = server.planned("web", "m-1").await;
        let done = events.iter().all(|it| it.actions.iter().all(|a| a.state() == State::Delivered));
        done.then_some(events)
    })
    .await;
    assert_eq!(events.len(), 2, "the repeat has an entry");
    assert_eq!(events[0].actions.len(), 0, "and no actions of its own");
    assert_eq!(events[1].actions.iter().map(|it| it.run).collect::<Vec<_>>(), [0, 0]);

    // Now that all of it is done, a further repeat runs nothing: what comes behind it in the lane
    // is the next that anyone sees.
    assert_eq!(server.post("web", copy.to_string()).await.counts(), (0, 1));
    send(&server, "m-2", "user-1", 3).await;
    all(&server, &["m-2".to_owned()], State::Delivered).await;
    for (sink, expected) in [(&failing, vec![1, 1, 3]), (&good, vec![1, 3])] {
        let numbers: Vec<_> = sink.asked().iter().map(number).collect();
        assert_eq!(numbers, expected);
    }
}

#[tokio::test]
async fn a_repeat_renders_a_failed_action_by_the_configuration_of_now() {
    let sink = Sink::start().await;
    let mut needs_more = spec(&[("crm", json!({"url": sink.url("/")}))]);
    needs_more["mappings"][0]["action"]["usersIdentify"]["id"] =
        json!({"path": "body.properties.customer"});
    let site = Site::with_web(needs_more);
    let server = start(&site).await;
    send(&server, "m-1", "user-1", 1).await;
    let failed = all(&server, &["m-1".to_owned()], State::Failed).await.remove(0);
    apply(&site, &server, spec(&[("crm", json!({"url": sink.url("/")}))])).await;
    let copy = track("m-1", "user-1", "Signed Up").to_string();
    assert_eq!(server.post("web", copy).await.counts(), (0, 1));
    let asked = sink.until(1).await.remove(0);
    assert_eq!(asked.json()["data"]["id"], "user-1");
    assert_eq!(asked.header("idempotency-key"), failed.idempotency_key);
    eventually("it is delivered", || async {
        let original = server.planned("web", "m-1").await.pop()?;
        (original.actions[0].state() == State::Delivered).then_some(())
    })
    .await;
    assert_eq!(sink.asked().len(), 1);
}
