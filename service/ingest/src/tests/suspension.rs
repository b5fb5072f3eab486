//! What the store remembers of destinations while their source is suspended, and afterwards.

use std::sync::Arc;

use segment_source_core::source::DestinationId;
use segment_source_proto::config::v1 as config;
use segment_source_store::{
    Ending, Hold, Store,
    embedded::{self, Options},
    system_clock,
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{snapshot, source, source_id, until};
use crate::{Sources, Suspension};

const NOTE: &str = "suspend: Delivery";

/// Nothing but suspensions: who lets go of logs cannot hold them up.
struct Rig {
    store: Store,
    sources: watch::Sender<Arc<Sources>>,
    cancel: CancellationToken,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl Rig {
    fn start(sources: &[config::Source]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::default() };
        let store =
            Store::from(embedded::Store::open(folder.path(), options, system_clock()).unwrap());
        let (sources, seen) = watch::channel(snapshot(sources));
        let cancel = CancellationToken::new();
        let running = tokio::spawn(Suspension::new(store.clone(), seen).run(cancel.clone()));
        Self { store, sources, cancel, running, _folder: folder }
    }

    fn configure(&self, source: &config::Source) {
        self.sources.send_replace(snapshot(std::slice::from_ref(source)));
    }

    async fn held(&self, name: &str) -> Option<Hold> {
        self.store.hold_ledger(&queue(name)).await.unwrap().hold
    }

    /// Waits until a destination is held for this reason; `None`: not at all.
    async fn is_held(&self, name: &str, reason: Option<&str>) {
        until(async || {
            let held = self.held(name).await;
            (held.as_ref().map(|hold| hold.reason.as_str()) == reason).then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.running.await.unwrap();
        self.store.close().await;
    }
}

fn queue(name: &str) -> DestinationId {
    DestinationId { source: source_id("prod/web"), name: name.into() }
}

fn web(suspended: bool, destinations: &[&str]) -> config::Source {
    let mut source = source("web", Vec::new());
    let processing = source.processing.as_mut().unwrap();
    processing.delivery_suspended = suspended;
    let model = processing.destinations.remove(0);
    let named = |name: &&str| config::Destination { name: (*name).to_owned(), ..model.clone() };
    processing.destinations = destinations.iter().map(named).collect();
    source
}

fn hold(store: &Store, reason: &str) -> Hold {
    Hold { since: store.now(), until: None, refused: false, reason: reason.to_owned() }
}

#[tokio::test]
async fn a_suspension_is_noted_and_ends_with_it_wherever_the_destination_was_meanwhile() {
    let rig = Rig::start(&[web(true, &["default", "other"])]);
    rig.is_held("default", Some(NOTE)).await;
    rig.is_held("other", Some(NOTE)).await;
    rig.configure(&web(true, &["default"]));
    rig.configure(&web(false, &["default"]));
    rig.is_held("default", None).await;
    assert_eq!(rig.held("other").await.unwrap().reason, NOTE, "nobody looks at it");
    rig.configure(&web(false, &["default", "other"]));
    rig.is_held("other", None).await;
    assert_eq!(
        rig.store.hold_ledger(&queue("other")).await.unwrap().past.len(),
        1,
        "it is remembered"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_hold_by_hand_outlives_the_suspension() {
    let rig = Rig::start(&[web(true, &["before", "during", "other"])]);
    rig.is_held("during", Some(NOTE)).await;
    rig.store.hold(&queue("during"), hold(&rig.store, "by hand")).await.unwrap();
    rig.configure(&web(false, &["before", "during", "other"]));
    rig.is_held("other", None).await;
    assert_eq!(rig.held("during").await.unwrap().reason, "by hand");
    rig.store.hold(&queue("before"), hold(&rig.store, "by hand")).await.unwrap();
    rig.configure(&web(true, &["before", "during", "other"]));
    rig.is_held("other", Some(NOTE)).await;
    assert_eq!(rig.held("before").await.unwrap().reason, "by hand");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_source_is_looked_at_once_a_minute() {
    let rig = Rig::start(&[web(false, &["default"])]);
    // As one that was left behind before the last configuration came.
    rig.store.hold(&queue("default"), hold(&rig.store, NOTE)).await.unwrap();
    rig.is_held("default", None).await;
    rig.store.hold(&queue("default"), hold(&rig.store, NOTE)).await.unwrap();
    rig.is_held("default", None).await;

    rig.configure(&web(true, &["default"]));
    rig.is_held("default", Some(NOTE)).await;
    rig.store.hold(&queue("default"), hold(&rig.store, "by hand")).await.unwrap();
    rig.store.end_hold(&queue("default"), Ending::Any).await.unwrap();
    rig.is_held("default", Some(NOTE)).await;
    rig.stop().await;
}
