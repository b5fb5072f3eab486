//! Power cuts: only what was synced is left. kill -9 cannot show this, because the kernel keeps
//! what a dead process wrote.

use std::{collections::BTreeSet, io::Write as _, time::Duration};

use segment_source_tests::{
    manifest::welcome_mapping, powercut::PowerCut, server::Server, site::Site, wait::eventually,
};
use serde_json::json;

use crate::load::Load;

/// Starts with the shim, puts load on, cuts the power; gives what had been answered, and how many syncs
/// were slow under load.
async fn load_and_cut(site: &Site, cut: &PowerCut, syncs: bool) -> (Vec<String>, u64) {
    let mut server = cut.load_into(site.launch()).start().await;
    // A first event, so that the store is as it is in the middle of its life.
    let load = Load::start(server.http, 1);
    eventually("an event is accepted", || async { (load.accepted() > 0).then_some(()) }).await;
    let mut answered = load.stop().await.accepted;
    if !syncs {
        cut.take_syncs_out();
        answered.clear();
    }
    let before = cut.slow_syncs();
    let load = Load::start(server.http, 16);
    eventually("events are accepted", || async { (load.accepted() >= 200).then_some(()) }).await;
    server.kill();
    let answers = load.stop().await;
    assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
    answered.extend(answers.accepted);
    cut.cut();
    (answered, cut.slow_syncs() - before)
}

async fn lost(server: &Server, answered: &[String]) -> usize {
    let there: BTreeSet<String> =
        server.events("web").await.into_iter().map(|event| event.key).collect();
    answered.iter().filter(|id| !there.contains(*id)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_no_answered_event() {
    for _ in 0..3 {
        let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
        let (answered, _) = load_and_cut(&site, &PowerCut::of(&site), true).await;
        let server = site.start().await;
        assert_eq!(lost(&server, &answered).await, 0, "of {} answered events", answered.len());
        // It goes on, on what was left.
        let events = server.events("web").await.len();
        assert_eq!(server.drain("web", events).await.len(), events);
    }
}

/// Nothing is answered before the disk has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_a_slow_disk_loses_no_answered_event() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let cut = PowerCut::of(&site).slow(Duration::from_millis(200));
    let (answered, syncs) = load_and_cut(&site, &cut, true).await;
    let server = site.start().await;
    let lost = lost(&server, &answered).await;
    let count = answered.len();
    _ = writeln!(
        std::io::stderr(),
        "{syncs} syncs under load took 50 to 200 ms: {count} events answered, {lost} lost"
    );
    assert!(syncs > 0, "no sync was slow");
    assert_eq!(lost, 0);
}

/// The first test above can fail: with the sync calls taken out, the same check finds events lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_the_same_check_finds_events_lost() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let (answered, _) = load_and_cut(&site, &PowerCut::of(&site), false).await;
    let server = site.start().await;
    let lost = lost(&server, &answered).await;
    assert!(lost > answered.len() / 2, "only {lost} of {} are lost", answered.len());
}
