//! Shutting down.

use std::time::Duration;

use segment_source_edge::Settings;
use tokio::net::TcpStream;

use crate::{
    client::{Connection, Post},
    rig::{Rig, enforce},
};

#[tokio::test]
async fn an_idle_edge_ends_at_once_and_stops_listening() {
    let rig = Rig::serving(enforce()).await;
    let mut idle = Connection::open(rig.edge).await;
    assert_eq!(Post::signed("{}").on(&mut idle).await.status, 202);
    rig.shutdown.cancel();
    rig.task.await.unwrap().unwrap();
    assert!(idle.is_ended().await);
    assert!(TcpStream::connect(rig.edge).await.is_err());
}

#[tokio::test]
async fn requests_that_do_not_finish_are_answered_before_the_end() {
    let settings = Settings {
        drain: Duration::from_millis(100),
        deadline: Duration::from_secs(3_600),
        body_timeout: Duration::from_secs(3_600),
        ..Settings::default()
    };
    let rig = Rig::with(settings, enforce()).await;
    rig.ingest.hold();
    // One has only half of its body, the other waits for ingest.
    let mut half = Connection::open(rig.edge).await;
    half.write(Post::signed("whole").head().as_bytes()).await;
    half.write(b"who").await;
    let edge = rig.edge;
    let waiting = tokio::spawn(async move { Post::signed("waiting").to(edge).await });
    rig.ingest.has_seen(1).await;
    rig.shutdown.cancel();
    for answer in [half.answer().await.unwrap(), waiting.await.unwrap()] {
        assert_eq!((answer.status, answer.code().as_str()), (503, "draining"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    rig.task.await.unwrap().unwrap();
}
