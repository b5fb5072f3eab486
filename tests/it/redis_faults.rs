//! What goes wrong between the parts while they work, on one Redis under load: a disk that is slow, an
//! answer that gets lost, an ingest that is killed with batches in its hands. Every event that was
//! accepted is in the log once, and is delivered; also one without a key, of which nobody can tell a
//! repeat.

use std::time::Duration;

use segment_source_tests::{
    lossy::Lossy,
    redis::{Redis, Setup, available},
};

use crate::{
    edge_pool::{metric, ready},
    redis_roles::{Fleet, say},
};

/// Killed twice, and at last without power: what was answered had been synced.
#[tokio::test]
async fn a_disk_that_syncs_slowly_loses_nothing() {
    if !available() {
        return;
    }
    let slow = Some(Duration::from_millis(200));
    let mut redis = Redis::start(Setup { port: true, slow, ..Setup::default() }).await;
    let fleet = Fleet::start(redis.url(), 2, 2).await;
    let before = redis.slow_syncs();
    let load = fleet.load();
    for round in 0..3 {
        load.more(60).await;
        if round < 2 {
            redis.kill();
        } else {
            redis.cut_power();
        }
        redis.start_again().await;
    }
    load.more(60).await;
    let answers = load.answers();
    let (accepted, refused) = load.end().await;
    let syncs = redis.slow_syncs() - before;
    let twice = fleet.delivered(&accepted).await;
    let (new, duplicates) = fleet.logged().await;
    say(&format!(
        "{syncs} syncs under load took 50 to 200 ms, 2 kills and a power cut: {} events accepted, {refused} answers \
         other than 202 ({answers:?}), {new} entries and {duplicates} duplicates, {twice} delivered twice",
        accepted.len()
    ));
    assert!(syncs > 0, "no sync was slow");
    assert!(answers.keys().all(|answer| matches!(answer, Some(202 | 503))), "{answers:?}");
    assert_eq!(new, accepted.len());
}

/// The answers of accepts: arrays that begin with an event's id. How many events they are of.
fn accepted(bytes: &[u8]) -> u64 {
    let stars = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'*');
    let count = |at: usize| {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (count, rest) = bytes[at..].split_at(digits);
        let is_one = rest.starts_with(b"\r\n$8\r\n");
        std::str::from_utf8(count).ok()?.parse::<u64>().ok().filter(|_| is_one)
    };
    stars.filter_map(|(at, _)| count(at + 1)).sum()
}

#[tokio::test]
async fn an_answer_of_redis_that_is_lost_doubles_nothing() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup { port: true, ..Setup::default() }).await;
    let lossy = Lossy::new(redis.port(), accepted).await;
    let fleet = Fleet::start(format!("redis://{}", lossy.address), 2, 1).await;
    let load = fleet.half_keyless();
    for _ in 0..40 {
        load.more(10).await;
        lossy.lose_one().await;
    }
    load.more(50).await;
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    let (new, duplicates) = fleet.logged().await;
    say(&format!(
        "{} connections ended instead of answers to {} stored events: {} events accepted, half of them \
         without a key, {refused} answers other than 202, {new} entries and {duplicates} duplicates, \
         {twice} delivered twice",
        lossy.cuts(),
        lossy.lost(),
        accepted.len()
    ));
    assert!(lossy.lost() >= lossy.cuts() && lossy.cuts() >= 40);
    assert_eq!((new, duplicates), (accepted.len(), 0));
    assert_eq!((refused, twice), (0, 0));
}

#[tokio::test]
async fn an_ingest_that_is_killed_amid_its_batches_doubles_nothing() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let mut fleet = Fleet::start(redis.url(), 2, 1).await;
    let load = fleet.half_keyless();
    let (mut hits, rounds) = (0, 10);
    for round in 0..rounds {
        load.more(50).await;
        let before = metric(&fleet.edges[0], "resubmitted_events_total").await;
        fleet.ingests[round % 2].kill();
        ready(&fleet.edges[0], 1).await;
        load.more(20).await;
        hits += u64::from(metric(&fleet.edges[0], "resubmitted_events_total").await > before);
        fleet.start_again(round % 2).await;
        ready(&fleet.edges[0], 2).await;
    }
    let (accepted, refused) = load.end().await;
    let resubmitted = metric(&fleet.edges[0], "resubmitted_events_total").await;
    let twice = fleet.delivered(&accepted).await;
    let (new, duplicates) = fleet.logged().await;
    say(&format!(
        "{rounds} kills hit batches {hits} times, {resubmitted} events were sent again: {} events accepted, \
         half of them without a key, {refused} answers other than 202, {new} entries and {duplicates} \
         duplicates, {twice} delivered twice",
        accepted.len()
    ));
    assert!(hits > 0 && resubmitted > 0, "no kill hit a batch");
    assert_eq!((new, duplicates, refused), (accepted.len(), 0, 0));
}
