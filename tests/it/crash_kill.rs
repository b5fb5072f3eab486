//! kill -9 at random moments under load, many times on one store: every event that was answered
//! 202 is there afterwards, once, and makes its actions once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use segment_source_proto::admin::v1::EventFilter;
use segment_source_tests::{manifest::welcome_mapping, server::Server, sign::track, site::Site};
use serde_json::json;

use crate::load::Load;

const ROUNDS: usize = 20;

/// A random time between the two, in milliseconds.
fn random(from: u64, to: u64) -> Duration {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    Duration::from_millis(from + u64::from_le_bytes(bytes) % (to - from))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answered_event_is_lost_or_doubled_by_kill_9() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let mut answered: BTreeSet<String> = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut server = site.start().await;
        let load = Load::start(server.http, 16);
        tokio::time::sleep(random(20, 400)).await;
        server.kill();
        let answers = load.stop().await;
        assert!(answers.wrong.is_empty(), "round {round}: {:?}", answers.wrong);
        answered.extend(answers.accepted);
        let server = site.start().await;
        // What was not answered is sent again, as Segment does; it may be there already.
        for id in answers.unsure {
            let event = track(&id, "user-again", "Signed Up").to_string();
            let (accepted, duplicate) = server.post("web", event).await.counts();
            assert_eq!(accepted + duplicate, 1, "round {round}");
            answered.insert(id);
        }
        let accepted = accepted_keys(&server).await;
        let lost: Vec<_> = answered.iter().filter(|id| !accepted.contains_key(*id)).collect();
        assert!(lost.is_empty(), "round {round}: of {} {} are lost", answered.len(), lost.len());
        let doubled: Vec<_> = accepted.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "round {round}: accepted twice: {doubled:?}");
    }
    assert!(answered.len() > ROUNDS * 5, "only {} events in all", answered.len());
    // And each of them makes its action, once.
    let server = site.start().await;
    let all = accepted_keys(&server).await.len();
    let actions = server.drain("web", all).await;
    let events: BTreeSet<_> = actions.iter().map(|action| &action.event_id).collect();
    assert_eq!((actions.len(), events.len()), (all, all));
    assert!(server.pull("web", 10, Duration::from_millis(500)).await.is_empty());
}

/// How often each key was accepted as new.
async fn accepted_keys(server: &Server) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    for event in server.events_until("web", EventFilter::default(), |_| false).await {
        if event.duplicate_of.is_empty() {
            *keys.entry(event.key).or_default() += 1;
        }
    }
    keys
}

/// Killed between a consumer's acks: what was acked stays done, the rest comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acked_action_comes_back_after_kill_9() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut sent = 0;
    for round in 0..5 {
        let mut server = site.start().await;
        for user in 0..20 {
            let id = segment_source_tests::sign::fresh_id();
            let event = track(&id, &format!("user-{user}"), "Signed Up").to_string();
            assert_eq!(server.post("web", event).await.counts(), (1, 0));
            sent += 1;
        }
        for _ in 0..10 {
            let taken = server.pull("web", 1, Duration::from_secs(20)).await;
            let acked = server.settle(taken.iter().map(segment_source_tests::read::ack).collect());
            acked.await;
            for delivery in taken {
                assert!(done.insert(delivery.action_id), "round {round}: done twice");
            }
        }
        server.kill();
    }
    let server = site.start().await;
    for delivery in server.drain("web", sent - done.len()).await {
        assert!(done.insert(delivery.action_id), "done twice");
    }
    assert_eq!(done.len(), sent);
    assert!(server.pull("web", 10, Duration::from_millis(500)).await.is_empty());
}
