//! Large, slow, half-sent and too many requests.

use std::time::Duration;

use segment_source_edge::Settings;

use crate::{
    client::{Connection, Post},
    rig::{Rig, enforce, whole_body},
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn seventeen_mebibytes_are_too_much_with_a_length_and_in_chunks() {
    let rig = Rig::serving(enforce()).await;
    let body = vec![b'x'; 17 * MIB];
    rig.check(Post::signed(&body), 413, "body_too_large").await;
    rig.check(Post::signed(&body).chunked(), 413, "body_too_large").await;
    assert_eq!(rig.ingest.stored().len(), 0);
}

#[tokio::test]
async fn sixteen_mebibytes_arrive_whole() {
    let rig = Rig::serving(enforce()).await;
    let mut body = vec![b'x'; 16 * MIB];
    rig.check(Post::signed(&body), 202, "accepted").await;
    body[0] = b'y';
    rig.check(Post::signed(&body).chunked(), 202, "accepted").await;
    let stored: Vec<usize> = rig.ingest.stored().iter().map(|s| s.body.len()).collect();
    assert_eq!(stored, [16 * MIB; 2]);
    assert!(rig.ingest.stored()[1].body == body);
}

#[tokio::test]
async fn a_sender_that_asks_first_is_told_before_it_sends() {
    let rig = Rig::serving(enforce()).await;
    let post = Post::signed(vec![b'x'; 17 * MIB]).header("expect", "100-continue");
    let mut connection = Connection::open(rig.edge).await;
    connection.write(post.head().as_bytes()).await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn announced_bytes_cost_nothing_until_they_come() {
    let settings = Settings { body_limit: MIB, body_budget: MIB, ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(rig.edge).await;
        connection.write(Post::signed(vec![b'x'; MIB]).head().as_bytes()).await;
        connection.write(b"x").await;
        slow.push(connection);
    }
    rig.check(Post::signed("{}"), 202, "accepted").await;
}

/// Waits until some of the budget is used, or none of it.
async fn budget_is_used(rig: &Rig, used: bool) {
    let none = "segment_source_edge_body_budget_used_bytes 0";
    while rig.metrics().lines().any(|line| line == none) == used {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_budget_is_given_back_whatever_becomes_of_a_request() {
    let settings = Settings { body_limit: MIB, body_budget: MIB, ..Settings::default() };
    let rig = Rig::with(settings, whole_body()).await;
    for _ in 0..3 {
        rig.check(Post::signed(vec![b'x'; MIB]), 202, "accepted").await;
        rig.check(Post::body(vec![b'x'; MIB]), 401, "signature_missing").await;
        rig.check(Post::signed(vec![b'x'; MIB + 1]).chunked(), 413, "body_too_large").await;
        let mut gone = Connection::open(rig.edge).await;
        gone.write(Post::signed(vec![b'x'; MIB]).head().as_bytes()).await;
        gone.write(&vec![b'x'; MIB / 2]).await;
        budget_is_used(&rig, true).await;
        drop(gone);
        budget_is_used(&rig, false).await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let settings = Settings { head_timeout: Duration::from_millis(200), ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    let mut half = Connection::open(rig.edge).await;
    half.write(b"POST /v1/sources/prod/web HTTP/1.1\r\nhost: ").await;
    let mut silent = Connection::open(rig.edge).await;
    let mut kept = Connection::open(rig.edge).await;
    assert_eq!(Post::signed("{}").on(&mut kept).await.status, 202);
    assert!(half.is_ended().await && silent.is_ended().await && kept.is_ended().await);
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    let rig = Rig::serving(enforce()).await;
    let large = Post::signed("{}").header("x-large", &"x".repeat(20 << 10));
    assert_eq!(rig.post(large.clone()).await.status, 202);
    let mut connection = Connection::open(rig.edge).await;
    connection.write(large.header("x-more", &"x".repeat(100 << 10)).head().as_bytes()).await;
    assert_eq!(connection.answer().await.unwrap().status, 431);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let settings = Settings { connections: 1, ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    let mut first = Connection::open(rig.edge).await;
    assert_eq!(Post::signed("1").on(&mut first).await.status, 202);
    let edge = rig.edge;
    let second = tokio::spawn(async move { Post::signed("2").to(edge).await });
    assert_eq!(Post::signed("3").on(&mut first).await.status, 202);
    assert_eq!(rig.ingest.bodies(), ["1", "3"]);
    drop(first);
    assert_eq!(second.await.unwrap().status, 202);
}
