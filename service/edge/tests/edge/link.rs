//! The stream to ingest: batches, order, breaks.

use std::{collections::HashSet, time::Duration};

use segment_source_edge::Settings;
use segment_source_proto::ingest::v1::submit_failure::Reason;
use tokio::task::JoinSet;

use crate::{
    client::{Answer, Connection, Post},
    ingest::Behaviour,
    rig::{Rig, enforce, whole_body},
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

async fn patient() -> Rig {
    Rig::with(Settings { deadline: LONG, ..Settings::default() }, whole_body()).await
}

fn spawn(rig: &Rig, posts: impl IntoIterator<Item = Post>) -> JoinSet<Answer> {
    let edge = rig.edge;
    posts.into_iter().map(|post| async move { post.to(edge).await }).collect()
}

/// Waits until so many requests are between head and answer.
async fn under_way(rig: &Rig, requests: usize) {
    let line = format!("segment_source_edge_requests_under_way {requests}");
    while !rig.metrics().lines().any(|found| found == line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_becomes_one_batch() {
    let rig = patient().await;
    rig.ingest.hold();
    let mut first = spawn(&rig, [Post::signed("a")]);
    rig.ingest.has_seen(1).await;
    let mut second = spawn(&rig, [Post::signed("b")]);
    // The server looks at one batch at a time, so the second one is on its way unseen.
    let mut connections = Vec::new();
    for number in 0..50 {
        let mut connection = Connection::open(rig.edge).await;
        let post = Post::signed(number.to_string());
        connection.write(format!("{}{number}", post.head()).as_bytes()).await;
        connections.push(connection);
    }
    under_way(&rig, 52).await;
    rig.ingest.release();
    for mut connection in connections {
        assert_eq!(connection.answer().await.unwrap().status, 202);
    }
    assert_eq!(first.join_next().await.unwrap().unwrap().status, 202);
    assert_eq!(second.join_next().await.unwrap().unwrap().status, 202);
    let batches = rig.ingest.batches();
    assert_eq!(batches.iter().sum::<usize>(), 52);
    assert!(batches.len() <= 6, "{batches:?}");
}

#[tokio::test]
async fn a_large_request_is_cut_and_answered_once_with_its_order_kept() {
    let rig = patient().await;
    let numbers: Vec<String> = (0..4_000).map(|n: u32| n.to_string()).collect();
    let answer = rig.post(Post::signed(format!("[{}]", numbers.join(",")))).await;
    assert_eq!(answer.body, r#"{"accepted":4000,"duplicate":0}"#);
    assert_eq!(rig.ingest.bodies(), numbers);
    assert!(rig.ingest.batches().iter().all(|events| *events <= 256));
    let stored = rig.ingest.stored();
    let positions: Vec<u32> = stored.iter().map(|s| s.element).collect();
    assert_eq!(positions, (0..4_000).collect::<Vec<u32>>());
    let receipts: HashSet<&[u8]> = stored.iter().map(|s| &s.receipt[..]).collect();
    assert_eq!(receipts.len(), 4_000);
}

#[tokio::test]
async fn large_events_travel_in_batches_of_a_mebibyte_or_alone() {
    let rig = patient().await;
    let event = |letter: char, length| format!("\"{}\"", letter.to_string().repeat(length));
    let events =
        [event('a', 400 << 10), event('b', 400 << 10), event('c', 400 << 10), event('d', 3 << 20)];
    let answer = rig.post(Post::signed(format!("[{}]", events.join(",")))).await;
    assert_eq!(answer.body, r#"{"accepted":4,"duplicate":0}"#);
    assert_eq!(rig.ingest.batches(), [2, 1, 1]);
}

#[tokio::test]
async fn a_lost_answer_stores_nothing_twice() {
    let rig = patient().await;
    rig.ingest.script(&[Behaviour::StoreThenBreak, Behaviour::StoreThenBreak]);
    let answer = rig.post(Post::signed("[1,2]")).await;
    assert_eq!(answer.body, r#"{"accepted":2,"duplicate":0}"#);
    assert_eq!((rig.ingest.bodies(), rig.ingest.duplicates()), (vec!["1".into(), "2".into()], 0));
    assert_eq!(rig.ingest.streams(), 3);
}

#[tokio::test]
async fn everything_unanswered_is_sent_again_when_a_stream_breaks() {
    let rig = patient().await;
    rig.ingest.hold();
    rig.ingest.script(&[Behaviour::StoreThenBreak]);
    let posts = (0..40).map(|n: u32| Post::signed(n.to_string()));
    let answers = spawn(&rig, posts);
    rig.ingest.has_seen(1).await;
    rig.ingest.release();
    for answer in answers.join_all().await {
        assert_eq!(answer.body, r#"{"accepted":1,"duplicate":0}"#);
    }
    assert_eq!((rig.ingest.bodies().len(), rig.ingest.duplicates()), (40, 0));
}

#[tokio::test]
async fn an_ingest_that_shuts_down_or_answers_nonsense_is_asked_again() {
    let rig = patient().await;
    rig.ingest.script(&[
        Behaviour::Fail(Reason::Draining),
        Behaviour::AnswerTooLittle,
        Behaviour::Fail(Reason::Draining),
    ]);
    rig.check(Post::signed("1"), 202, "accepted").await;
    assert_eq!((rig.ingest.bodies(), rig.ingest.streams()), (vec!["1".into()], 4));
}

#[tokio::test]
async fn a_silent_ingest_costs_the_deadline_and_is_given_up() {
    let settings = Settings { deadline: Duration::from_millis(300), ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    rig.ingest.script(&[Behaviour::Ignore]);
    rig.check(Post::signed("1"), 503, "ingest_unreachable").await;
    while rig.ingest.streams() < 2 {
        tokio::task::yield_now().await;
    }
    while rig.post(Post::signed("2")).await.status != 202 {}
    // Nobody waits for the first one any more, so it is not sent again.
    assert_eq!(rig.ingest.bodies(), ["2"]);
}

#[tokio::test]
async fn a_request_whose_sender_left_is_not_submitted() {
    let rig = patient().await;
    rig.ingest.hold();
    let held = spawn(&rig, [Post::signed("1")]);
    rig.ingest.has_seen(1).await;
    let second = spawn(&rig, [Post::signed("2")]);
    under_way(&rig, 2).await;
    let mut gone = Connection::open(rig.edge).await;
    gone.write(format!("{}gone", Post::signed("gone").head()).as_bytes()).await;
    under_way(&rig, 3).await;
    drop(gone);
    under_way(&rig, 2).await;
    rig.ingest.release();
    held.join_all().await;
    second.join_all().await;
    rig.check(Post::signed("3"), 202, "accepted").await;
    assert_eq!(rig.ingest.bodies(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_copies_at_once_one_is_accepted() {
    let rig = patient().await;
    let answers = spawn(&rig, (0..64).map(|_| Post::signed(r#"{"messageId":"m"}"#))).join_all();
    let mut bodies: Vec<String> = answers.await.into_iter().map(|answer| answer.body).collect();
    bodies.sort_unstable();
    let duplicate = r#"{"accepted":0,"duplicate":1}"#.to_owned();
    assert_eq!(bodies[..63], vec![duplicate; 63]);
    assert_eq!(bodies[63], r#"{"accepted":1,"duplicate":0}"#);
    assert_eq!(rig.ingest.stored().len(), 1);
}

#[tokio::test]
async fn requests_of_one_batch_do_not_share_their_fate() {
    let settings = Settings { deadline: LONG, batches_in_flight: 1, ..Settings::default() };
    let rig = Rig::with(settings, whole_body()).await;
    rig.configure("prod/other", whole_body());
    rig.ingest.hold();
    rig.ingest.script(&[Behaviour::Store, Behaviour::UnknownSource("other")]);
    let first = spawn(&rig, [Post::signed("0")]);
    rig.ingest.has_seen(1).await;
    let unknown = spawn(&rig, [Post::signed("[1,2]").path("/v1/sources/prod/other")]);
    under_way(&rig, 2).await;
    let known = spawn(&rig, [Post::signed("[3,4]")]);
    under_way(&rig, 3).await;
    rig.ingest.release();
    assert_eq!(first.join_all().await[0].code(), "accepted");
    assert_eq!(unknown.join_all().await[0].code(), "ingest_unknown_source");
    assert_eq!(known.join_all().await[0].body, r#"{"accepted":2,"duplicate":0}"#);
    assert_eq!(rig.ingest.bodies(), ["0", "3", "4"]);
}
