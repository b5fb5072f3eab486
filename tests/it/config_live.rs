//! Configuration that changes while the program runs: good edits apply, bad ones do not, sources
//! come and go, secrets rotate.

use std::{fs, time::Duration};

use segment_source_tests::{
    http::Reply,
    manifest::{documents, secret, signing_secret, source, welcome_mapping},
    server::Server,
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

fn body() -> String {
    track(&fresh_id(), "user-1", "Signed Up").to_string()
}

async fn posted_with(server: &Server, source: &str, secret: &str) -> Reply {
    let body = body();
    let signature = sign(secret.as_bytes(), body.as_bytes());
    server.post_signed(source, body.as_bytes(), &signature).await
}

/// Posts until the newest event has this many actions.
async fn until_actions(server: &Server, count: usize) {
    eventually(&format!("events make {count} actions"), || async {
        let id = fresh_id();
        let event = track(&id, "user-1", "Signed Up").to_string();
        assert_eq!(server.post("web", event).await.counts(), (1, 0), "no edit stops intake");
        (server.planned_one("web", &id).await.actions.len() == count).then_some(())
    })
    .await;
}

fn mappings(names: &[&str]) -> Value {
    let named = |name: &&str| {
        let mut mapping = welcome_mapping();
        mapping["name"] = json!(name);
        mapping
    };
    json!({"mappings": names.iter().map(named).collect::<Vec<_>>()})
}

#[tokio::test]
async fn good_edits_apply_and_bad_ones_keep_the_last_good() {
    let site = Site::with_web(mappings(&["a"]));
    let server = site.start().await;
    until_actions(&server, 1).await;
    site.write("web.yaml", &[source("web", mappings(&["a", "b"]))]);
    until_actions(&server, 2).await;
    // Each of these must be told with file and field, and change nothing.
    let mut bad_cel = mappings(&["a"]);
    bad_cel["mappings"][0]["when"] = json!("body.x ==");
    let mut unknown = mappings(&["a"]);
    unknown["mappings"][0]["wen"] = json!("true");
    for (field, spec) in [
        ("spec.mappings[0].when", bad_cel),
        ("wen", unknown),
        ("spec.mappings[1]", mappings(&["a", "a"])),
        ("spec.suspend", json!({"suspend": "Everything"})),
    ] {
        site.write("web.yaml", &[source("web", spec)]);
        let told = |line: &str| line.contains("web.yaml") && line.contains(field);
        server.logged(&format!("a line about {field}"), told).await;
        until_actions(&server, 2).await;
    }
    for text in ["a: [", "just text", ""] {
        site.write_text("web.yaml", text);
        if !text.is_empty() {
            until_actions(&server, 2).await;
        }
        site.write("web.yaml", &[source("web", mappings(&["a", "b"]))]);
        eventually("it is back", || async {
            (server.post("web", body()).await.status == 202).then_some(())
        })
        .await;
    }
    site.write("web.yaml", &[source("web", mappings(&["a", "b", "c"]))]);
    until_actions(&server, 3).await;
}

/// The last good configuration is kept in memory only: after a restart there is none, so the
/// answer is one that heals, and nothing is lost.
#[tokio::test]
async fn after_a_restart_a_bad_edit_answers_503_until_it_is_corrected() {
    let site = Site::with_web(mappings(&["a"]));
    let mut server = site.start().await;
    until_actions(&server, 1).await;
    site.write("web.yaml", &[source("web", json!({"eventTypePath": "body..x"}))]);
    server.logged("the mistake", |line| line.contains("spec.eventTypePath")).await;
    until_actions(&server, 1).await;
    server.kill();
    let server = site.start().await;
    server.post("web", body()).await.assert_heals();
    site.write("web.yaml", &[source("web", mappings(&["a", "b"]))]);
    eventually("the corrected edit applies", || async {
        (server.post("web", body()).await.status == 202).then_some(())
    })
    .await;
    until_actions(&server, 2).await;
}

#[tokio::test]
async fn one_bad_source_does_not_touch_another() {
    let site = Site::with_web(mappings(&["a"]));
    let server = site.start().await;
    let shop = source("shop", json!({"eventTypePath": "body..x"}));
    // In one file with a good one, too.
    site.write("more.yaml", &[shop, source("blog", json!({}))]);
    eventually("the good one of the file is loaded", || async {
        (server.post("blog", body()).await.status == 202).then_some(())
    })
    .await;
    server.post("shop", body()).await.assert_heals();
    until_actions(&server, 1).await;
    site.write("more.yaml", &[source("shop", json!({})), source("blog", json!({}))]);
    eventually("the mistake is corrected", || async {
        (server.post("shop", body()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_unreadable_file_keeps_the_others_from_nothing() {
    let site = Site::with_web(json!({}));
    site.write_text("more.yaml", "a: [");
    // Returns when it is ready.
    let server = site.start().await;
    assert_eq!(server.post("web", body()).await.status, 202);
    server.post("shop", body()).await.assert_heals();
    site.write("more.yaml", &[source("blog", json!({}))]);
    eventually("what is in the file is known", || async {
        (server.post("blog", body()).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(server.post("shop", body()).await.status, 404);
}

#[tokio::test]
async fn sources_come_and_go() {
    let site = Site::with_web(json!({}));
    let server = site.start().await;
    assert_eq!(server.post("shop", body()).await.status, 404);
    site.write("shop.yaml", &[source("shop", json!({}))]);
    eventually("the new source is there", || async {
        (server.post("shop", body()).await.status == 202).then_some(())
    })
    .await;
    site.remove("shop.yaml");
    let reply = eventually("it is gone", || async {
        let reply = server.post("shop", body()).await;
        (reply.status != 202).then_some(reply)
    })
    .await;
    reply.assert_heals();
    assert_eq!(server.post("never", body()).await.status, 404);
    assert_eq!(server.post("web", body()).await.status, 202);
}

#[tokio::test]
async fn a_source_removed_before_a_restart_is_still_503() {
    let site = Site::with_web(json!({}));
    site.write("shop.yaml", &[source("shop", json!({}))]);
    let mut server = site.start().await;
    assert_eq!(server.post("shop", body()).await.counts(), (1, 0));
    site.remove("shop.yaml");
    eventually("it is gone", || async {
        (server.post("shop", body()).await.status == 503).then_some(())
    })
    .await;
    server.kill();
    let server = site.start().await;
    server.post("shop", body()).await.assert_heals();
    assert_eq!(server.post("never", body()).await.status, 404);
}

#[tokio::test]
async fn a_secret_rotates_without_losing_a_request() {
    const NEW: &str = "not-a-real-secret-after-rotation";
    let two = json!({"verification": {"secretRefs": [
        {"name": "new", "key": "signing-secret"}, {"name": "segment", "key": "signing-secret"},
    ]}});
    let site = Site::with_web(json!({}));
    let server = site.start().await;
    assert_eq!(posted_with(&server, "web", SECRET).await.counts(), (1, 0));
    assert_eq!(posted_with(&server, "web", NEW).await.status, 401);
    // Both are live.
    site.write("all.yaml", &[secret("new", "signing-secret", NEW)]);
    site.write("web.yaml", &[source("web", two)]);
    eventually("the new secret verifies", || async {
        (posted_with(&server, "web", NEW).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(posted_with(&server, "web", SECRET).await.counts(), (1, 0));
    // The old one ends.
    let only_new =
        json!({"verification": {"secretRefs": [{"name": "new", "key": "signing-secret"}]}});
    site.write("web.yaml", &[source("web", only_new)]);
    eventually("the old secret verifies nothing", || async {
        (posted_with(&server, "web", SECRET).await.status != 202).then_some(())
    })
    .await;
    // Once the new one has verified something in its new place, that is final.
    assert_eq!(posted_with(&server, "web", NEW).await.counts(), (1, 0));
    assert_eq!(posted_with(&server, "web", SECRET).await.status, 401);
    for value in [SECRET, NEW] {
        assert!(!server.log().contains(value), "a secret is in the log");
    }
}

/// The trap of rotation: a new secret that is wrong must not make Segment throw events away.
#[tokio::test]
async fn a_mistyped_new_secret_answers_503_until_it_is_corrected() {
    let site = Site::with_web(json!({}));
    let server = site.start().await;
    assert_eq!(posted_with(&server, "web", SECRET).await.counts(), (1, 0));
    site.write("secret.yaml", &[secret("segment", "signing-secret", "mistyped")]);
    let reply = eventually("the edit applies", || async {
        let reply = posted_with(&server, "web", SECRET).await;
        (reply.status != 202).then_some(reply)
    })
    .await;
    reply.assert_heals();
    site.write("secret.yaml", &[signing_secret()]);
    eventually("it heals", || async {
        (posted_with(&server, "web", SECRET).await.status == 202).then_some(())
    })
    .await;
}

/// Kubernetes mounts volumes as links that are swapped as a whole.
#[tokio::test]
async fn a_mounted_volume_that_is_swapped_is_noticed() {
    use std::os::unix::fs::symlink;

    let site = Site::new();
    let mount = site.config();
    let version = |name: &str, names: &[&str]| {
        let folder = mount.join(name);
        fs::create_dir(&folder).expect("made");
        let text = documents(&[signing_secret(), source("web", mappings(names))]);
        fs::write(folder.join("web.yaml"), text).expect("written");
    };
    version("..2026_01", &["a"]);
    symlink("..2026_01", mount.join("..data")).expect("linked");
    symlink("..data/web.yaml", mount.join("web.yaml")).expect("linked");
    let server = site.start().await;
    until_actions(&server, 1).await;
    version("..2026_02", &["a", "b"]);
    symlink("..2026_02", mount.join("..data_tmp")).expect("linked");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("swapped");
    fs::remove_dir_all(mount.join("..2026_01")).expect("removed");
    until_actions(&server, 2).await;
}

/// `suspend: Delivery` accepts and holds.
#[tokio::test]
async fn suspended_delivery_holds_actions_until_it_goes_on() {
    let mut spec = mappings(&["a"]);
    spec["suspend"] = json!("Delivery");
    let site = Site::with_web(spec);
    let server = site.start().await;
    assert_eq!(server.post("web", body()).await.counts(), (1, 0));
    let held = server.pull("web", 10, Duration::from_millis(500)).await;
    assert!(held.is_empty(), "{held:?}");
    site.write("web.yaml", &[source("web", mappings(&["a"]))]);
    assert_eq!(server.drain("web", 1).await.len(), 1);
}

/// The folder's parent is watched too, and a log there must not be news that is logged.
#[tokio::test]
async fn a_log_beside_the_configuration_does_not_feed_itself() {
    let site = Site::with_web(mappings(&["a"]));
    let log = site.config().with_file_name("server.log");
    let tee = format!(r#"exec "$0" "$@" 2> >(tee '{}' >&2)"#, log.display());
    let launch = site.launch().env("SEGMENT_SOURCE_LOG", "trace");
    let mut server = launch.through(&["bash", "-c", &tee]).start().await;
    until_actions(&server, 1).await;
    let size = || fs::metadata(&log).expect("there is a log").len();
    let before = size();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = size() - before;
    assert!(grown < 64 << 10, "{grown} bytes about nothing");
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
}
