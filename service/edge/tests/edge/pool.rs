//! Several ingests over one store: who gets what, and what happens when one of them goes.

use std::{collections::BTreeMap, time::Duration};

use segment_source_edge::{Peers, Settings};
use segment_source_proto::ingest::v1::submit_failure::Reason;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::{Answer, Post},
    ingest::{Behaviour, FakeStore},
    rig::{Rig, peer, whole_body},
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
/// What a test waits for a slow ingest is a quarter of this.
const SHORT: Duration = Duration::from_secs(2);

/// An edge with two ingests, both of which have a stream.
async fn two(deadline: Duration) -> (Rig, FakeStore) {
    let rig = Rig::with(Settings { deadline, ..Settings::default() }, whole_body()).await;
    let other = rig.ingest.beside().await;
    tell(&rig, &[&rig.ingest, &other]);
    opened(&other).await;
    opened(&rig.ingest).await;
    (rig, other)
}

fn tell(rig: &Rig, ingests: &[&FakeStore]) {
    rig.peers.send_replace(ingests.iter().map(|ingest| peer(ingest)).collect::<Peers>());
}

async fn opened(ingest: &FakeStore) {
    while ingest.streams() == 0 {
        tokio::task::yield_now().await;
    }
}

fn spawn(rig: &Rig, bodies: impl IntoIterator<Item = u32>) -> JoinSet<Answer> {
    let edge = rig.edge;
    let post = |body: u32| async move { Post::signed(body.to_string()).to(edge).await };
    bodies.into_iter().map(post).collect()
}

async fn assert_accepted(answers: JoinSet<Answer>) {
    for answer in answers.join_all().await {
        assert_eq!(answer.body, r#"{"accepted":1,"duplicate":0}"#);
    }
}

/// Values of one metric by their labels.
fn values(rig: &Rig, metric: &str) -> BTreeMap<String, i64> {
    let start = format!("segment_source_edge_{metric}");
    let text = rig.metrics();
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    let entries = lines.filter_map(|line| line.rsplit_once(' '));
    entries.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn one_after_the_other_gets_what_comes() {
    let (rig, other) = two(LONG).await;
    for number in 0..20 {
        assert_accepted(spawn(&rig, [number])).await;
    }
    assert_eq!((rig.ingest.seen(), other.seen()), (10, 10));
    assert_eq!(values(&rig, "ingests"), BTreeMap::from([(String::new(), 2)]));
    let batches = ["{link=\"0\"}", "{link=\"1\"}"].map(|label| (label.to_owned(), 10));
    assert_eq!(values(&rig, "batches_total"), BTreeMap::from(batches));
    assert!(values(&rig, "batches_unanswered").into_values().all(|count| count == 0));
    assert_eq!(values(&rig, "resubmitted_events_total"), BTreeMap::from([(String::new(), 0)]));
}

#[tokio::test]
async fn one_that_does_not_answer_gets_no_more_than_it_may_have() {
    let (rig, other) = two(LONG).await;
    other.hold();
    let mut held = spawn(&rig, []);
    while values(&rig, "batches_unanswered").into_values().max() != Some(2) {
        let edge = rig.edge;
        let number = 1_000 + held.len();
        held.spawn(async move { Post::signed(number.to_string()).to(edge).await });
        tokio::task::yield_now().await;
    }
    for number in 0..50 {
        assert_accepted(spawn(&rig, [number])).await;
    }
    other.release();
    assert_accepted(held).await;
    assert_eq!(rig.ingest.again(), 0, "nothing was sent twice");
}

#[tokio::test]
async fn what_one_lost_the_other_gets_with_the_same_receipts() {
    let (rig, other) = two(LONG).await;
    for ingest in [&rig.ingest, &other] {
        ingest.script(&[Behaviour::StoreThenBreak]);
    }
    assert_accepted(spawn(&rig, 0..100)).await;
    assert_eq!((rig.ingest.bodies().len(), rig.ingest.duplicates()), (100, 0));
    let (again, counted) = (rig.ingest.again(), values(&rig, "resubmitted_events_total")[""]);
    assert!(again >= 2 && counted >= i64::try_from(again).unwrap(), "{again} of {counted}");
}

#[tokio::test]
async fn one_that_shuts_down_hands_over_at_once() {
    let (rig, other) = two(LONG).await;
    rig.ingest.script(&[Behaviour::Fail(Reason::Draining)]);
    other.script(&[Behaviour::Fail(Reason::Draining)]);
    assert_accepted(spawn(&rig, 0..10)).await;
    assert_eq!((rig.ingest.bodies().len(), rig.ingest.again()), (10, 0));
}

#[tokio::test]
async fn one_that_is_taken_out_answers_what_it_has_and_gets_nothing_new() {
    let (rig, other) = two(LONG).await;
    tell(&rig, &[&other]);
    while values(&rig, "ingests")[""] != 1 {
        tokio::task::yield_now().await;
    }
    other.hold();
    let held = spawn(&rig, [0]);
    other.has_seen(1).await;
    tell(&rig, &[&rig.ingest]);
    for number in 1..20 {
        assert_accepted(spawn(&rig, [number])).await;
    }
    assert_eq!(other.seen(), 1);
    other.release();
    assert_accepted(held).await;
    assert_eq!((other.seen(), rig.ingest.again(), rig.ingest.bodies().len()), (1, 0, 20));
    // Back again, it gets its share.
    tell(&rig, &[&rig.ingest, &other]);
    while other.streams() < 2 {
        tokio::task::yield_now().await;
    }
    let before = other.seen();
    for number in 20..30 {
        assert_accepted(spawn(&rig, [number])).await;
    }
    assert!(other.seen() > before);
}

/// Neither its connection nor its stream tells that it is stuck; that others answer does.
#[tokio::test]
async fn what_a_stuck_one_has_goes_to_one_that_answers_in_time() {
    let (rig, other) = two(SHORT).await;
    other.hold();
    let (mut answers, mut number) = (JoinSet::new(), 0);
    // Others go on; what is stuck is moved after a quarter of its time, and what comes then goes
    // elsewhere.
    while values(&rig, "resubmitted_events_total")[""] == 0 {
        let (edge, body) = (rig.edge, number.to_string());
        answers.spawn(async move { Post::signed(body).to(edge).await });
        number += 1;
        sleep(Duration::from_millis(10)).await;
    }
    assert_accepted(answers).await;
    let seen = other.seen();
    for _ in 0..50 {
        assert_accepted(spawn(&rig, [number])).await;
        number += 1;
    }
    assert_eq!(other.seen(), seen, "it comes after all others");
    assert_eq!(rig.ingest.bodies().len(), usize::try_from(number).unwrap());
    // Whatever it does later doubles nothing.
    other.release();
    assert_accepted(spawn(&rig, number..number + 10)).await;
    assert_eq!(rig.ingest.duplicates(), 0);
}

#[tokio::test]
async fn events_of_one_request_stay_in_order_over_a_break() {
    let (rig, other) = two(LONG).await;
    for ingest in [&rig.ingest, &other] {
        ingest.script(&[Behaviour::Store, Behaviour::StoreThenBreak]);
    }
    let numbers: Vec<String> = (0..4_000).map(|n: u32| n.to_string()).collect();
    let answer = rig.post(Post::signed(format!("[{}]", numbers.join(",")))).await;
    assert_eq!(answer.body, r#"{"accepted":4000,"duplicate":0}"#);
    assert_eq!(rig.ingest.bodies(), numbers);
    assert!(rig.ingest.again() > 0 && other.seen() > 0 && rig.ingest.seen() > 0);
}

#[tokio::test]
async fn without_any_what_waits_gets_its_chance_until_its_deadline() {
    let (rig, other) = two(SHORT).await;
    tell(&rig, &[]);
    while values(&rig, "ingests")[""] != 0 {
        tokio::task::yield_now().await;
    }
    rig.check(Post::signed("1"), 503, "ingest_unreachable").await;
    let waiting = spawn(&rig, [2]);
    tell(&rig, &[&other]);
    assert_accepted(waiting).await;
    assert_eq!(rig.ingest.bodies(), ["2"], "nobody waits for the first any more");
}
