//! What is found about real servers, set up well and badly, and when it changes.

use std::time::Duration;

use prometheus_client::{encoding::text::encode, registry::Registry};
use redis::cmd;
use segment_source_store::{
    redis::{
        check::{
            Code, Durability, Facts, Finding, Health, Metrics, Severity, gather, judge, watch,
        },
        connect::Connection,
        target::Target,
    },
    system_clock,
};
use segment_source_tests::{
    redis::{Cluster, Redis, Setup, available},
    wait::soon,
};

fn target(url: &str) -> Target {
    url.parse().expect("an address")
}

async fn facts(url: &str) -> Facts {
    let target = target(url);
    let mut connection = Connection::open(&target).await.expect("it connects");
    gather(&mut connection, &target, &system_clock()).await.expect("it answers")
}

fn codes(findings: &[Finding]) -> Vec<(Severity, Code)> {
    findings.iter().map(|finding| (finding.severity, finding.code)).collect()
}

fn sound() -> Setup {
    Setup::default().with("maxmemory", "256mb").with("hash-max-listpack-entries", 128)
}

#[tokio::test]
async fn a_sound_server_and_a_careless_one() {
    if !available() {
        return;
    }
    let redis = Redis::start(sound()).await;
    let facts = |url: String| async move { facts(&url).await };
    let found = facts(redis.url()).await;
    assert_eq!(judge(&found), []);
    let health = Health::of(&found);
    assert_eq!((health.durability, health.full()), (Durability::Synced, None));

    let redis = Redis::start(Setup {
        fsync: None,
        ..Setup::default()
            .with("maxmemory-policy", "allkeys-lru")
            .with("hash-max-listpack-entries", 64)
    })
    .await;
    let found = facts(redis.url()).await;
    let expected = [
        (Severity::Error, Code::Eviction),
        (Severity::Warning, Code::Maxmemory),
        (Severity::Warning, Code::AofOff),
        (Severity::Warning, Code::Listpack),
    ];
    assert_eq!(codes(&judge(&found)), expected);

    // Each change that is told makes its finding go.
    for finding in judge(&found) {
        let mut words = finding.change.split(' ');
        assert_eq!((words.next(), words.next()), (Some("CONFIG"), Some("SET")), "{finding}");
        let (name, value) = (words.next().expect("a name"), words.next().expect("a value"));
        redis.set(name, value).await;
    }
    redis.set("appendfsync", "always").await;
    assert_eq!(judge(&facts(redis.url()).await), []);
}

#[tokio::test]
async fn what_the_user_may_not_see_is_no_error() {
    if !available() {
        return;
    }
    let redis = Redis::start(sound()).await;
    let rules = ["SETUSER", "app", "on", ">word", "~*", "&*", "+@all", "-config", "-@dangerous"];
    () = redis.ask(cmd("ACL").arg(&rules)).await;
    let found = facts(&redis.url().replace("unix://", "unix://app:word@")).await;
    let findings = judge(&found);
    assert_eq!(codes(&findings), [(Severity::Note, Code::Unseen)]);
    assert!(findings[0].wrong.contains("appendfsync"), "{}", findings[0]);
    assert_eq!(Health::of(&found).durability, Durability::Unknown);
}

#[tokio::test]
async fn a_default_user_without_all_rights_is_found() {
    if !available() {
        return;
    }
    let redis = Redis::start(sound()).await;
    let default = async |rules: &[&str]| {
        () = redis.ask(cmd("ACL").arg("SETUSER").arg("default").arg(rules)).await;
    };
    default(&["-xadd"]).await;
    let found = judge(&facts(&redis.url()).await);
    assert_eq!(codes(&found), [(Severity::Error, Code::DefaultUser)]);
    // As it is told.
    let told: Vec<_> = found[0].change.split(", ").next().expect("a command").split(' ').collect();
    assert_eq!(told[..3], ["ACL", "SETUSER", "default"]);
    default(&told[3..]).await;
    assert_eq!(judge(&facts(&redis.url()).await), []);
}

#[tokio::test]
async fn a_replica_and_its_master() {
    if !available() {
        return;
    }
    let master = Redis::start(Setup { port: true, ..sound() }).await;
    let address = master.url();
    let port = address.rsplit(':').next().expect("a port");
    let replica = Redis::start(sound().with("replicaof", format!("127.0.0.1 {port}"))).await;
    segment_source_tests::wait::eventually("the replica follows", || async {
        let info: String = master.ask(cmd("INFO").arg("replication")).await;
        info.contains("state=online").then_some(())
    })
    .await;
    let found = judge(&facts(&replica.url()).await);
    assert_eq!(codes(&found), [(Severity::Error, Code::Replica)]);
    let found = judge(&facts(&address).await);
    assert_eq!(codes(&found), [(Severity::Warning, Code::MinReplicas)]);
    master.set("min-replicas-to-write", "1").await;
    assert_eq!(judge(&facts(&address).await), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whole_and_broken() {
    if !available() {
        return;
    }
    let mut cluster = Cluster::start(sound().with("min-replicas-to-write", 1)).await;
    let url = cluster.url();
    let target = target(&url);
    let mut connection = Connection::open(&target).await.expect("it connects");
    let clock = system_clock();
    let found = gather(&mut connection, &target, &clock).await.expect("it answers");
    assert_eq!((found.servers.len(), judge(&found)), (3, vec![]));

    // One of it as if it were alone.
    let single = cluster.nodes[0].url();
    let found = judge(&facts(&single).await);
    assert_eq!(codes(&found), [(Severity::Error, Code::ClusterAddress)]);

    // A master and its replica go; nobody can take over.
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    let broken = async {
        loop {
            if let Ok(found) = gather(&mut connection, &target, &clock).await {
                let found = codes(&judge(&found));
                if found.contains(&(Severity::Error, Code::ClusterState)) {
                    break found;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = soon("the cluster says so", broken).await;
    assert!(found.contains(&(Severity::Error, Code::Unreachable)), "{found:?}");
}

fn page(registry: &Registry) -> String {
    let mut page = String::new();
    encode(&mut page, registry).expect("text");
    page
}

#[tokio::test]
async fn changes_are_seen_while_it_runs() {
    if !available() {
        return;
    }
    let mut redis = Redis::start(sound()).await;
    let target = target(&redis.url());
    let mut connection = Connection::open(&target).await.expect("it connects");
    let clock = system_clock();
    let first = gather(&mut connection, &target, &clock).await.expect("it answers");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let step = Duration::from_millis(20);
    let (mut health, looking) = watch(connection, target, clock, metrics, &first, step);
    let looking = tokio::spawn(looking);
    assert_eq!(health.borrow().findings, []);
    assert!(page(&registry).contains("segment_source_store_durability{class=\"synced\"} 1"));

    redis.set("appendfsync", "everysec").await;
    let relaxed = soon("it is relaxed", health.wait_for(|it| !it.findings.is_empty())).await;
    let expected = (Durability::Relaxed, vec![(Severity::Warning, Code::Fsync)]);
    let relaxed = relaxed.expect("it looks");
    assert_eq!((relaxed.durability, codes(&relaxed.findings)), expected);
    drop(relaxed);
    let shown = page(&registry);
    assert!(shown.contains("segment_source_store_findings{code=\"fsync\"} 1"), "{shown}");
    assert!(shown.contains("segment_source_store_durability{class=\"synced\"} 0"), "{shown}");
    redis.set("appendfsync", "always").await;
    soon("it is synced", health.wait_for(|it| it.findings.is_empty())).await.expect("it looks");

    let used = health.borrow().memory.expect("a limit").0;
    redis.set("maxmemory", &(used * 100 / 90).to_string()).await;
    let full = soon("it is full", health.wait_for(|it| it.full().is_some())).await;
    let (free, reserve) = full.expect("it looks").full().expect("it is full");
    assert!(free < reserve, "{free} of {reserve}");
    redis.set("maxmemory", "256mb").await;
    let room = soon("there is room", health.wait_for(|it| it.full().is_none())).await;
    drop(room.expect("it looks"));

    redis.kill();
    let gone = |it: &Health| codes(&it.findings) == [(Severity::Error, Code::Unreachable)];
    drop(soon("it is gone", health.wait_for(gone)).await.expect("it looks"));
    redis.start_again().await;
    soon("it is back", health.wait_for(|it| it.findings.is_empty())).await.expect("it looks");

    drop(health);
    soon("nobody needs it any more", looking).await.expect("no panic");
}
