//! `doctor`: what it finds about stores of every kind, what it tells to change, and its exit codes.

use std::fs;

use redis::cmd;
use segment_source_tests::{
    command::{Finished, run},
    process::root,
    redis::{Cluster, Redis, Setup, available, tls_available},
    site::Site,
};
use serde_json::{Value, json};

async fn doctor(store: &str, more: &[&str]) -> Finished {
    run(&[&["doctor", "--store", store][..], more].concat()).await
}

async fn report(store: &str, more: &[&str], code: i32) -> Value {
    let finished = doctor(store, &[&["--output", "json"], more].concat()).await.exits(code);
    assert_eq!(finished.err, "");
    finished.json_lines().remove(0)
}

/// Severity and code of each finding.
fn found(report: &Value) -> Vec<(String, String)> {
    let findings = report["findings"].as_array().expect("findings");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    findings.iter().map(|it| (text(&it["severity"]), text(&it["code"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(severity, code)| ((*severity).into(), (*code).into())).collect()
}

fn sound() -> Setup {
    Setup::default().with("maxmemory", "256mb").with("maxmemory-policy", "noeviction")
}

#[tokio::test]
async fn a_redis_is_judged_and_told_what_to_change() {
    if !available() {
        return;
    }
    let redis = Redis::start(sound()).await;
    let text = doctor(&redis.url(), &[]).await.exits(0).out;
    assert!(text.contains("durability  synced"), "{text}");
    assert!(text.ends_with("\nnothing is wrong\n"), "{text}");

    redis.set("appendfsync", "everysec").await;
    let relaxed = report(&redis.url(), &[], 0).await;
    assert_eq!(found(&relaxed), pairs(&[("warning", "fsync")]));
    assert_eq!(
        (&relaxed["durability"], &relaxed["errors"], &relaxed["warnings"]),
        (&json!("relaxed"), &json!(0), &json!(1))
    );

    redis.set("maxmemory-policy", "allkeys-lru").await;
    let finished = doctor(&redis.url(), &[]).await.exits(1);
    for line in [
        "maxmemory-policy is allkeys-lru: when memory is short, accepted events vanish",
        "change: CONFIG SET maxmemory-policy noeviction",
        "change: CONFIG SET appendfsync always",
        "1 error, 1 warning",
    ] {
        assert!(finished.out.contains(line), "{line} in {}", finished.out);
    }
}

#[tokio::test]
async fn secrets_come_from_the_side_and_are_never_shown() {
    if !tls_available() {
        return;
    }
    let user = Some(("ingest", "hunter2"));
    let redis = Redis::start(Setup { user, ..sound().with_tls() }).await;
    let address = redis.url().replace("ingest:hunter2@", "");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let ca = file("ca.crt", &redis.authority().expect("one"));
    let (right, wrong) = (file("right", "hunter2\n"), file("wrong", "hunter3\n"));
    let with = |password| {
        ["--store-ca", ca.as_str(), "--store-username", "ingest", "--store-password-file", password]
    };
    let found_right = report(&address, &with(&right), 0).await;
    assert_eq!(found(&found_right), []);
    assert!(!found_right.to_string().contains("hunter"), "{found_right}");
    let in_url = report(&redis.url(), &["--store-ca", &ca], 0).await;
    assert_eq!(in_url["store"], found_right["store"]);

    for more in [&with(&wrong)[..], &["--store-ca", &ca]] {
        let text = doctor(&address, more).await.exits(1).said();
        assert!(text.contains("user or password is wrong"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
    let text = doctor(&redis.url(), &[]).await.exits(1).said();
    assert!(text.contains("TLS does not come about") && text.contains("--store-ca"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    let text = doctor("redis://u:hunter2@a:b", &[]).await.exits(1).said();
    assert!(text.contains("--store: the host `a`") && !text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn the_documented_user_sees_all_that_is_looked_at() {
    if !available() {
        return;
    }
    let page = fs::read_to_string(root().join("docs/doctor.md")).expect("the page");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER ")).expect("the command");
    let redis = Redis::start(sound()).await;
    let mut words = line.split(' ');
    let mut acl = cmd(words.next().expect("ACL"));
    for word in words {
        acl.arg(if word == ">PASSWORD" { ">secret" } else { word });
    }
    () = redis.ask(&acl).await;
    let address = redis.url().replace("unix://", "unix://segment-source:secret@");
    assert_eq!(found(&report(&address, &[], 0).await), []);
}

#[tokio::test]
async fn nobody_there_is_a_finding() {
    let report = report("redis+unix:///nowhere/redis.sock", &[], 1).await;
    assert_eq!(found(&report), pairs(&[("error", "unreachable")]));
    assert_eq!(report["durability"], "unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_report() {
    if !available() {
        return;
    }
    let cluster = Cluster::start(sound()).await;
    let whole = report(&cluster.url(), &[], 0).await;
    assert_eq!(found(&whole), pairs(&[("warning", "min_replicas")]), "{whole}");
    assert_eq!(whole["findings"][0]["at"].as_array().map(Vec::len), Some(3));
    assert_eq!(whole["servers"].as_array().map(Vec::len), Some(3));
    let single = report(&cluster.nodes[0].url(), &[], 1).await;
    assert_eq!(found(&single)[0], pairs(&[("error", "cluster_address")])[0]);

    let redis = Redis::start(Setup { port: true, ..sound() }).await;
    let address = redis.url().replace("redis://", "redis-cluster://");
    let alone = report(&address, &[], 1).await;
    assert_eq!(found(&alone), pairs(&[("error", "cluster_address")]), "{alone}");
}

#[tokio::test]
async fn a_folder_before_while_and_after_it_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("data");
    let missing = missing.to_str().expect("UTF-8");
    assert_eq!(found(&report(missing, &[], 0).await), pairs(&[("note", "missing")]));
    assert!(!fs::exists(missing).expect("it can be looked for"), "doctor makes nothing");

    let site = Site::new();
    let mut server = site.launch().start().await;
    let store = site.store();
    let store = store.to_str().expect("UTF-8");
    assert_eq!(found(&report(store, &[], 0).await), pairs(&[("note", "in_use")]));
    server.kill();
    let text = doctor(store, &[]).await.exits(0).out;
    assert!(text.contains("durability  synced") && text.contains("nothing is wrong"), "{text}");

    fs::write(folder.path().join("file"), "").expect("a file");
    let file = folder.path().join("file");
    let text = report(file.to_str().expect("UTF-8"), &[], 1).await;
    assert_eq!(found(&text), pairs(&[("error", "folder")]));
    let flags = ["--store-username", "u"];
    let text = doctor(store, &flags).await.exits(1).said();
    assert!(text.contains("--store is a folder"), "{text}");
}
