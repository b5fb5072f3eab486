//! Answers while something around the edge is broken: no configuration, no ingest, no disk space,
//! no memory for bodies, draining. All of it is 503, and all of it heals by itself.

use std::{fs, io::Write, process::Command, sync::Arc, time::Duration};

use segment_source_proto::{
    admin::v1::Outcome,
    queue::v1::{SettleRequest, settlement_result::Status},
};
use segment_source_tests::{
    http::Connection,
    manifest::{signing_secret, source, welcome_mapping},
    read::{ack, pull_request},
    server::{Server, target, webhook},
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;

use crate::queue_consume::Consumer;

fn body() -> String {
    track(&fresh_id(), "user-1", "Signed Up").to_string()
}

async fn accepts(server: &Server) -> bool {
    server.post("web", body()).await.status == 202
}

#[tokio::test]
async fn without_configuration_everything_is_503() {
    let site = Site::new();
    let missing = site.path().join("later");
    let launch = site.launch().flag("config", &missing.display().to_string());
    let mut server = launch.unready().start().await;
    server.post("web", body()).await.assert_heals();
    server.post("other", body()).await.assert_heals();
    let ready = server.get("/ready").await.expect("the admin listener answers");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(server.get("/live").await.expect("it answers").status, 200);
    // The folder appears, complete from the first moment.
    let manifests = [signing_secret(), source("web", json!({}))];
    site.write("all.yaml", &manifests);
    fs::rename(site.config(), &missing).expect("the folder appears");
    server.until_ready().await;
    assert!(accepts(&server).await);
    assert_eq!(server.post("other", body()).await.status, 404, "now it is known not to exist");
}

#[tokio::test]
async fn without_an_ingest_everything_is_503_until_it_is_there() {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("it has an address").to_string();
    drop(port);
    let edge = site.launch().flag("role", "edge").flag("ingest", &address);
    let edge_store = site.path().join("edge").display().to_string();
    let edge = edge.flag("store", &edge_store).unready().start().await;
    eventually("its configuration is loaded", || async {
        (edge.post("other", body()).await.status == 404).then_some(())
    })
    .await;
    edge.post("web", body()).await.assert_heals();
    let mut ingest = site.launch().flag("role", "ingest").flag("grpc", &address).start().await;
    eventually("the edge reaches it", || async { accepts(&edge).await.then_some(()) }).await;
    // It dies, and comes back: nothing is lost, nothing is twice.
    let text = body();
    ingest.kill();
    edge.post("web", &text).await.assert_heals();
    let ingest = site.launch().flag("role", "ingest").flag("grpc", &address).start().await;
    let reply = eventually("the edge reaches it again", || async {
        let reply = edge.post("web", &text).await;
        (reply.status == 202).then_some(reply)
    })
    .await;
    assert_eq!(reply.counts(), (1, 0));
    let events = ingest.events("web").await;
    assert!(events.iter().all(|event| event.duplicate_of.is_empty()), "{events:#?}");
}

/// The store lies on a small file system of its own, which needs a mount namespace: root, or user
/// namespaces. Where neither can be had, the test says so and shows nothing.
#[tokio::test]
async fn a_full_store_is_503_and_heals_when_there_is_room() {
    let Some(unshare) = unshare() else {
        let mut stderr = std::io::stderr();
        _ = writeln!(stderr, "SKIPPED: this machine lets nobody mount a small file system");
        return;
    };
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    fs::create_dir(site.store()).expect("the store's folder");
    let mount = format!(
        "mount -t tmpfs -o size=700m tmpfs '{}' && exec \"$0\" \"$@\"",
        site.store().display()
    );
    let wrapper = [unshare, &["sh", "-c", &mount]].concat();
    let mut server = site.launch().through(&wrapper).start().await;
    assert!(accepts(&server).await);
    // Its view of the folder, seen from outside.
    let inside = format!("/proc/{}/root{}", server.pid(), site.store().display());
    let ballast = format!("{inside}/ballast");
    let mut file = fs::File::create(&ballast).expect("the file system is there");
    // The store looks at the free space a few times a second, so it must not vanish faster.
    let block = vec![0; 1 << 20];
    let mut accepted = 1;
    // Space gets scarce, and at some point it takes no more.
    let refused = loop {
        file.write_all(&block).expect("it refuses before nothing is left");
        let reply = server.post("web", body()).await;
        if reply.status != 202 {
            break reply;
        }
        accepted += 1;
    };
    refused.assert_heals();
    // What was accepted can still be read, planned and settled: room for that is kept.
    assert_eq!(server.events("web").await.len(), accepted);
    let drained = server.drain("web", accepted - 1).await;
    assert_eq!(drained.len(), accepted - 1);
    eventually("the last one is planned", || async {
        let events = server.events("web").await;
        events.iter().all(|event| event.outcome() != Outcome::Waiting).then_some(())
    })
    .await;
    // Somebody else takes the very last byte.
    while file.write(&block).is_ok_and(|written| written > 0) {}
    server.post("web", body()).await.assert_heals();
    // The store looks at the free space a few times a second: what nobody holds any more is refused too
    // as soon as it has seen that there is none.
    let again = SettleRequest { settlements: vec![ack(&drained[0])] };
    eventually("the store sees that nothing is left", || async {
        let settled = server.queue().await.settle(again.clone()).await.expect("an answer");
        (settled.into_inner().results[0].status() == Status::Unavailable).then_some(())
    })
    .await;
    // What could not be settled is not given out; who stays gets it when there is room.
    let refused = server.queue().await.pull(pull_request("web", 1, Duration::ZERO)).await;
    assert_eq!(refused.expect_err("nothing is given out").code(), Code::Unavailable);
    let mut consumer = Consumer::start(&server, 1, Duration::from_mins(1)).await;
    consumer.assert_quiet().await;
    assert_eq!(server.events("web").await.len(), accepted);
    server.assert_healthy(300 << 20).await;
    drop(file);
    fs::remove_file(&ballast).expect("there is room again");
    eventually("it heals", || async { accepts(&server).await.then_some(()) }).await;
    assert_eq!(consumer.delivery().await.attempt, 1);
    assert_eq!(server.events("web").await.len(), accepted + 1, "nothing is lost, nothing is twice");
}

/// Runs a program with mounts of its own, where that is allowed.
pub(crate) fn unshare() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-rm"]];
    ways.into_iter().find(|way| {
        let mut probe = Command::new(way[0]);
        probe.args(&way[1..]).args(["sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"]);
        probe.output().is_ok_and(|output| output.status.success())
    })
}

#[tokio::test]
async fn when_bodies_fill_their_memory_the_next_one_is_503() {
    let site = Site::with_web(json!({}));
    let mut server = site.start().await;
    // With a signature, so that the body is needed to answer.
    let announced = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nX-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        target("web"),
        "0".repeat(40),
        16 << 20
    );
    // More senders than there is memory for, which have sent all but the last byte, and wait. They are given
    // 10 seconds, which on a busy machine may pass before all are there: then others come.
    let most = Arc::new(vec![b'x'; (16 << 20) - 1]);
    let mut senders = JoinSet::new();
    let mut refused = None;
    for _ in 0..5 {
        senders.shutdown().await;
        for _ in 0..32 {
            let (address, announced, most) = (server.http, announced.clone(), most.clone());
            senders.spawn(async move {
                let mut connection = Connection::open(address).await.expect("connected");
                connection.send(announced.as_bytes()).await.expect("sent");
                connection.send(&most).await.expect("sent");
                connection
            });
        }
        let full = eventually("memory for bodies is full", || async {
            let reply = server.post("web", body()).await;
            (reply.status != 202).then_some(reply)
        });
        refused = timeout(Duration::from_secs(12), full).await.ok();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("memory for bodies is full");
    refused.assert_heals();
    let open = senders.join_all().await;
    let in_use = server.memory();
    assert!(in_use < 600 << 20, "{} MiB are in use", in_use >> 20);
    // Those that have their memory are served, and the memory is free again.
    drop(open);
    eventually("memory is free again", || async { accepts(&server).await.then_some(()) }).await;
    server.assert_healthy(600 << 20).await;
}

#[tokio::test]
async fn while_draining_requests_under_way_are_answered_and_no_new_ones_taken() {
    let site = Site::with_web(json!({}));
    let mut server = site.start().await;
    let text = body();
    let signature = sign(SECRET.as_bytes(), text.as_bytes());
    let bytes = webhook("web").header("X-Signature", &signature).body(text.as_bytes()).bytes();
    let mut connection = Connection::open(server.http).await.expect("connected");
    connection.send(&bytes[..bytes.len() - 5]).await.expect("sent");
    // Another request proves that the first one has been read.
    assert!(accepts(&server).await);
    server.terminate();
    eventually("it takes no connections", || async {
        Connection::open(server.http).await.is_err().then_some(())
    })
    .await;
    connection.send(&bytes[bytes.len() - 5..]).await.expect("sent");
    let reply = soon("the answer", connection.reply()).await.expect("answered");
    match reply.status {
        202 => assert_eq!(reply.counts(), (1, 0)),
        _ => reply.assert_heals(),
    }
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let server = site.start().await;
    let stored = server.events("web").await.iter().any(|event| text.contains(&event.key));
    assert_eq!(stored, reply.status == 202, "what was answered is what happened");
}
