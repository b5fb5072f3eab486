//! A real folder and real file events, followed up to the tables of the roles.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use segment_source_edge::{LiveSource, SourceState};
use segment_source_proto::config::v1 as wire;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Folder, Live, REMOVED_FOR, Snapshot, State, check, folder::Settings, publish};
use crate::args::Role;

/// A followed folder. Nothing is read again in between unless a test says so.
struct Followed {
    home: TempDir,
    now: Arc<AtomicU64>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    live: Live,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

const NEVER: Duration = Duration::from_secs(3600);

impl Followed {
    fn open(home: TempDir, reread: Duration) -> Self {
        let usual = Settings::new(home.path(), home.path()).settle;
        Self::settling(home, reread, usual)
    }

    fn settling(home: TempDir, reread: Duration, settle: Duration) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = now.clone();
        let settings = Settings {
            reread,
            settle,
            ..Settings::new(&home.path().join("sources"), &home.path().join("cache"))
        };
        let folder = Folder::open(settings, Arc::new(move || clock.load(Ordering::Relaxed)));
        let snapshots = folder.snapshots();
        let (live, publisher) = publish(folder.snapshots(), Role::All);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::join!(folder.run(stop.clone()), publisher.run(stop));
            }
        });
        Self { home, now, snapshots, live, stop, running }
    }

    /// With these files.
    fn with(files: &[(&str, String)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("sources")).unwrap();
        for (name, text) in files {
            fs::write(home.path().join("sources").join(name), text).unwrap();
        }
        Self::open(home, NEVER)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("sources").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Waits until the sources are these.
    async fn wait_for(&mut self, expected: &[&str]) {
        let mut last = Vec::new();
        let reached = timeout(Duration::from_secs(20), async {
            loop {
                last = in_words(&self.snapshots.borrow_and_update());
                if last == expected {
                    return;
                }
                self.snapshots.changed().await.unwrap();
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "expected {expected:?}, but it stayed {last:?}");
    }

    async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.running.await.unwrap();
        self.home
    }
}

/// `NAME EVENT-TYPE` of each, or what it is instead; `not synced` first when it is not.
fn in_words(snapshot: &Snapshot) -> Vec<String> {
    let source = |(id, state): (&segment_source_core::source::SourceId, &State)| {
        let state = match state {
            State::Loaded(source) => &source.processing.as_ref().unwrap().mappings[0].event_type,
            State::NotLoaded { .. } => "not loaded",
            State::RecentlyRemoved => "removed",
        };
        format!("{} {state}", id.name())
    };
    let synced = (!snapshot.synced).then(|| "not synced".to_owned());
    synced.into_iter().chain(snapshot.sources.iter().map(source)).collect()
}

/// A source with one mapping for this event type.
pub(super) fn source(name: &str, event_type: &str) -> String {
    format!(
        "apiVersion: segment-source.dev/v1alpha1
kind: SegmentSource
metadata: {{name: {name}, namespace: prod}}
spec:
  verification: {{secretRefs: [{{name: s, key: k}}]}}
  mappings:
    - name: m
      eventType: {event_type}
      action: {{usersDelete: {{id: {{path: userId}}}}}}
"
    )
}

/// What an operator tells of a source of namespace `prod`.
pub(super) fn message(name: &str, generation: i64) -> wire::Source {
    let queue = wire::destination::Kind::Queue(wire::QueueDestination {});
    wire::Source {
        namespace: "prod".to_owned(),
        name: name.to_owned(),
        generation,
        schema_level: 1,
        verification: Some(wire::Verification {
            mode: wire::verification::Mode::Enforce.into(),
            batch_policy: wire::verification::BatchPolicy::Reject.into(),
            secrets: vec![wire::SecretValue { value: b"of-a-test".to_vec().into() }],
            ..wire::Verification::default()
        }),
        processing: Some(wire::Processing {
            idempotency: Some(wire::Idempotency::default()),
            destinations: vec![wire::Destination { name: "default".to_owned(), kind: Some(queue) }],
            ..wire::Processing::default()
        }),
    }
}

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: prod}\nstringData: {k: v}\n";

#[tokio::test]
async fn edits_additions_and_removals_are_seen() {
    let mut folder = Followed::with(&[("a.yaml", source("web", "one"))]);
    folder.wait_for(&["web one"]).await;
    folder.write("a.yaml", &source("web", "two"));
    folder.wait_for(&["web two"]).await;
    folder.write("b.yml", &source("app", "one"));
    folder.write("c.json", "{\"kind\": \"Pod\"}");
    folder.write("ignored.txt", &source("txt", "one"));
    folder.write(".hidden.yaml", &source("hidden", "one"));
    folder.wait_for(&["app one", "web two"]).await;
    // As editors do: written beside, then renamed.
    fs::write(folder.path(".b.yml.new"), source("app", "two")).unwrap();
    fs::rename(folder.path(".b.yml.new"), folder.path("b.yml")).unwrap();
    folder.wait_for(&["app two", "web two"]).await;
    folder.write("a.yaml", "kind: [");
    folder.write("b.yml", &source("app", "three"));
    folder.wait_for(&["app three", "web two"]).await;
    fs::remove_file(folder.path("b.yml")).unwrap();
    folder.wait_for(&["app removed", "web two"]).await;
    folder.stop().await;
}

#[tokio::test]
async fn a_file_half_written_is_never_believed() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("sources")).unwrap();
    fs::write(home.path().join("sources/a.yaml"), source("web", "one")).unwrap();
    // Longer than a busy machine may leave the writer standing in the middle.
    let mut folder = Followed::settling(home, NEVER, Duration::from_secs(1));
    let path = folder.path("a.yaml");
    let writer = std::thread::spawn(move || {
        for round in 0..100 {
            fs::write(&path, source("web", &format!("round-{round}"))).unwrap();
        }
        fs::write(&path, source("web", "last")).unwrap();
    });
    let mut seen = Vec::new();
    while seen.last().map(Vec::as_slice) != Some(&["web last".to_owned()]) {
        timeout(Duration::from_secs(20), folder.snapshots.changed()).await.unwrap().unwrap();
        seen.push(in_words(&folder.snapshots.borrow_and_update()));
    }
    writer.join().unwrap();
    let whole = |words: &Vec<String>| words.len() == 1 && words[0] != "web removed";
    assert!(seen.iter().all(whole), "{seen:?}");
    folder.stop().await;
}

#[tokio::test]
async fn links_swapped_as_kubernetes_does_are_seen() {
    let mut folder = Followed::with(&[]);
    let version = |name: &str, event_type: &str| {
        fs::create_dir(folder.path(name)).unwrap();
        fs::write(folder.path(name).join("web.yaml"), source("web", event_type)).unwrap();
        symlink(name, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    version("..v1", "one");
    symlink("..data/web.yaml", folder.path("web.yaml")).unwrap();
    folder.wait_for(&["web one"]).await;
    let version = |folder: &Followed, name: &str, event_type: &str| {
        fs::create_dir(folder.path(name)).unwrap();
        fs::write(folder.path(name).join("web.yaml"), source("web", event_type)).unwrap();
        symlink(name, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    version(&folder, "..v2", "two");
    folder.wait_for(&["web two"]).await;
    folder.stop().await;
}

#[tokio::test]
async fn the_folder_may_come_later_go_and_be_replaced() {
    let home = tempfile::tempdir().unwrap();
    let mut folder = Followed::open(home, NEVER);
    folder.wait_for(&["not synced"]).await;
    assert!(!*folder.live.read.borrow());
    let make = |folder: &Followed, name: &str, event_type: &str| {
        let path = folder.home.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.yaml"), source("web", event_type)).unwrap();
        path
    };
    let first = make(&folder, "first", "one");
    fs::rename(&first, folder.path("")).unwrap();
    folder.wait_for(&["web one"]).await;
    let read = timeout(Duration::from_secs(20), folder.live.read.wait_for(|read| *read)).await;
    assert!(read.is_ok_and(|it| it.is_ok()));
    let second = make(&folder, "second", "two");
    fs::rename(folder.path(""), &first).unwrap();
    fs::rename(&second, folder.path("")).unwrap();
    folder.wait_for(&["web two"]).await;
    // It is the new one that is watched now.
    folder.write("a.yaml", &source("web", "three"));
    folder.wait_for(&["web three"]).await;
    folder.stop().await;
}

#[tokio::test]
async fn a_folder_with_an_unreadable_file_was_read() {
    let mut folder =
        Followed::with(&[("a.yaml", "kind: [".to_owned()), ("b.yaml", source("web", "one"))]);
    folder.wait_for(&["not synced", "web one"]).await;
    assert!(*folder.live.read.borrow());
    folder.stop().await;
}

#[tokio::test]
async fn what_no_event_tells_is_seen_when_the_folder_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("deep")).unwrap();
    fs::write(elsewhere.join("deep/web.yaml"), source("web", "one")).unwrap();
    fs::create_dir(home.path().join("sources")).unwrap();
    symlink(elsewhere.join("deep/web.yaml"), home.path().join("sources/web.yaml")).unwrap();
    let mut folder = Followed::open(home, Duration::from_millis(50));
    folder.wait_for(&["web one"]).await;
    fs::write(elsewhere.join("deep/web.yaml"), source("web", "two")).unwrap();
    folder.wait_for(&["web two"]).await;
    // So are hours that pass.
    fs::remove_file(folder.path("web.yaml")).unwrap();
    folder.wait_for(&["web removed"]).await;
    folder.now.fetch_add(REMOVED_FOR, Ordering::Relaxed);
    folder.wait_for(&[]).await;
    folder.stop().await;
}

#[tokio::test]
async fn what_was_removed_while_nobody_looked_is_known_after_a_restart() {
    let folder =
        Followed::with(&[("a.yaml", source("web", "one")), ("b.yaml", source("app", "one"))]);
    let home = folder.stop().await;
    fs::remove_file(home.path().join("sources/b.yaml")).unwrap();
    let mut folder = Followed::open(home, NEVER);
    folder.wait_for(&["app removed", "web one"]).await;
    let home = folder.stop().await;
    let mut folder = Followed::open(home, NEVER);
    folder.wait_for(&["app removed", "web one"]).await;
    folder.stop().await;
}

/// Waits until the edge's table is like this.
async fn edge(live: &mut Live, done: impl Fn(&segment_source_edge::Sources) -> bool) {
    let waited = timeout(Duration::from_secs(20), live.edge.wait_for(|sources| done(sources)));
    assert!(waited.await.is_ok_and(|it| it.is_ok()));
}

fn live_source(live: &Live, name: &str) -> Option<Arc<LiveSource>> {
    let id = format!("prod/{name}").parse().unwrap();
    match live.edge.borrow().sources.get(&id)? {
        SourceState::Live(source) => Some(source.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn the_tables_of_the_roles_follow_and_keep_what_did_not_change() {
    let mut folder = Followed::with(&[
        ("a.yaml", source("web", "one")),
        ("b.yaml", source("app", "one")),
        ("s.yaml", SECRET.to_owned()),
    ]);
    let id = |name: &str| format!("prod/{name}").parse().unwrap();
    let (web, app) = (live_source(&folder.live, "web"), live_source(&folder.live, "app"));
    let ingested = folder.live.ingest.borrow().sources.clone();
    let mut destinations: Vec<String> =
        folder.live.destinations.borrow().all.keys().map(ToString::to_string).collect();
    destinations.sort();
    let expected =
        ["prod/app:default", "prod/app:directory", "prod/web:default", "prod/web:directory"];
    assert_eq!((web.is_some(), app.is_some(), ingested.len()), (true, true, 2));
    assert_eq!(destinations, expected);

    // Another mapping is not the edge's business, nor another source's.
    folder.write("a.yaml", &source("web", "two"));
    folder.live.ingest.changed().await.unwrap();
    let now = folder.live.ingest.borrow_and_update().sources.clone();
    assert!(!Arc::ptr_eq(&now[&id("web")], &ingested[&id("web")]));
    assert!(Arc::ptr_eq(&now[&id("app")], &ingested[&id("app")]));
    let same = |one: &Option<Arc<LiveSource>>, other: Option<Arc<LiveSource>>| {
        one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    };
    assert!(same(&web, live_source(&folder.live, "web")));

    // Neither is a suspended delivery; the queues are told.
    let suspended = source("web", "two").replace("spec:\n", "spec:\n  suspend: Delivery\n");
    folder.write("a.yaml", &suspended);
    let told = folder.live.destinations.wait_for(|queues| {
        queues.all.iter().any(|(queue, state)| queue.source == id("web") && state.suspended)
    });
    assert!(timeout(Duration::from_secs(20), told).await.is_ok_and(|it| it.is_ok()));
    assert!(same(&web, live_source(&folder.live, "web")));

    // A source that goes stays known to the edge, and leaves the ingest.
    fs::remove_file(folder.path("b.yaml")).unwrap();
    edge(&mut folder.live, |sources| {
        matches!(sources.sources.get(&id("app")), Some(SourceState::RecentlyRemoved))
    })
    .await;
    assert_eq!(folder.live.ingest.borrow().sources.keys().collect::<Vec<_>>(), [&id("web")]);

    // So does one that has never been right.
    folder.write("c.yaml", &source("new", "t").replace("userId", "'['"));
    edge(&mut folder.live, |sources| {
        matches!(sources.sources.get(&id("new")), Some(SourceState::NotLoaded { .. }))
    })
    .await;
    assert!(same(&web, live_source(&folder.live, "web")));
    folder.stop().await;
}

#[test]
fn files_are_checked_together() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let files = [write("web.yaml", &source("web", "t")), write("s.yaml", SECRET)];
    assert_eq!(check(&files), (1, vec![]));
    let missing: &Path = &home.path().join("missing.yaml");
    let (right, findings) = check(&[files[0].clone(), missing.to_owned()]);
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        (right, texts),
        (
            1,
            vec![
                format!(
                    "{}: cannot be read: No such file or directory (os error 2)",
                    missing.display()
                ),
                format!(
                    "{}, prod/web: spec.verification.secretRefs[0]: key `k` of Secret `s` is not there; \
             create it",
                    files[0].display()
                ),
            ]
        )
    );
}

#[test]
fn every_kind_of_mistake_in_one_manifest_is_found_at_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("web.yaml");
    let text = "apiVersion: segment-source.dev/v1alpha1
kind: SegmentSource
metadata: {name: web, namespace: prod}
spec:
  verification: {mode: enforce, secretRefs: [{name: gone, key: k}]}
  colour: blue
  idempotency: {window: 5}
  rateLimit: {eventsPerSecond: 0}
  mappings:
    - name: same
      eventType: identify
      when: 'body.x ='
      action: {usersIdentify: {id: {path: 'a b'}}, usersDelete: {id: {path: userId}}}
    - name: same
      eventType: identify
      destination: nowhere
      action: {usersDelete: {id: {path: userId}}}
";
    fs::write(&file, text).unwrap();
    let (_, findings) = check(std::slice::from_ref(&file));
    let fields: Vec<&str> = findings.iter().map(|it| it.problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.colour",
            "spec.idempotency.window",
            "spec.mappings[0].action",
            "spec.mappings[0].action.usersIdentify.id.path",
            "spec.mappings[0].when",
            "spec.mappings[1].destination",
            "spec.mappings[1].name",
            "spec.rateLimit.eventsPerSecond",
            "spec.verification.mode",
        ]
    );
}

/// A pipe in the folder would be waited for, and a device read until memory is full.
#[test]
fn what_is_no_regular_file_is_named_and_not_read() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/zero", home.path().join("zero.yaml")).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let folder = home.path().to_owned();
    std::thread::spawn(move || said.send(super::read(&folder).1));
    let findings = heard.recv_timeout(Duration::from_secs(10)).expect("the folder is read");
    let files: Vec<&str> = findings.iter().map(|finding| finding.file.as_str()).collect();
    assert_eq!(files, ["pipe.yaml", "zero.yaml"]);
    assert!(findings.iter().all(|it| it.to_string().contains("is not a regular file")));
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let (sources, findings) = check(&[PathBuf::from("/dev/zero")]);
    assert_eq!(sources, 0);
    assert!(findings[0].to_string().contains("has more than"), "{}", findings[0]);
}
