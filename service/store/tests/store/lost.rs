//! A Redis has done what it was asked, and its answer gets lost with the connection: the connection, or
//! the caller, asks again, or nobody does any more. Against the embedded store there is nothing to be
//! tested here.

use std::{collections::BTreeSet, io::Write as _};

use segment_source_store::Settled;
use segment_source_tests::lossy::{Lossy, Which};

use crate::harness::{
    Fixture, LEASE, NewEventExt as _, SECOND, TICK, ack, event, new, queue, source,
};

/// Actions that wait, each in a lane of its own.
const ACTIONS: usize = 24;
/// Taken at once.
const FEW: usize = 4;
const ROUNDS: u64 = 20;

/// Answers of takes: the time, when the next one is due, and leases, whose tokens have 16 bytes.
fn takes(bytes: &[u8]) -> u64 {
    let begins = |part: &&[u8]| part.starts_with(b"*3\r\n$13\r\n18");
    let take = bytes.windows(32).filter(begins).count();
    u64::from(take > 0 && bytes.windows(5).any(|part| part == b"$16\r\n"))
}

/// Answers of accepts: an array of one event's id.
fn accepts(bytes: &[u8]) -> u64 {
    u64::from(bytes.windows(8).any(|part| part == b"*1\r\n$8\r\n"))
}

async fn with_actions(which: Which) -> Option<(Fixture, Lossy)> {
    let (fixture, lossy) = Fixture::lossy(which).await?;
    for user in 0..ACTIONS {
        fixture.planned(&format!("u{user}"), 1).await;
    }
    Some((fixture, lossy))
}

#[tokio::test]
async fn an_accept_whose_answer_is_lost_is_done_once() {
    let Some((fixture, lossy)) = Fixture::lossy(accepts).await else { return };
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        lossy.lose(1);
        let event = event();
        let event = if round % 2 == 0 { event.keyed(&round.to_string()) } else { event };
        ids.push(new(fixture.accept(event).await));
    }
    say(&lossy, "accepts");
    assert_eq!(lossy.lost(), ROUNDS);
    let logged: Vec<_> = fixture.unplanned(99).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(logged, ids);
}

/// Nobody waits for the answer any more. It is planned all the same.
#[tokio::test]
async fn what_was_accepted_for_a_caller_that_is_gone_is_told() {
    let Some((fixture, lossy)) = Fixture::lossy(accepts).await else { return };
    lossy.lose(u64::MAX);
    tokio::select! {
        accepted = fixture.accept(event()) => panic!("{accepted:?} in spite of all"),
        () = at_least_one(&lossy) => {}
    }
    say(&lossy, "accepts");
    let told = tokio::time::timeout(10 * SECOND, fixture.store.unplanned_sources()).await;
    assert_eq!(told.expect("nobody tells"), [source()]);
    lossy.lose(0);
    assert_eq!(fixture.unplanned(9).await.len(), 1);
}

/// The connection sends it again: nothing is leased twice, and nothing stays leased to nobody.
#[tokio::test]
async fn a_take_whose_answer_is_lost_leases_each_action_once() {
    let Some((fixture, lossy)) = with_actions(takes).await else { return };
    let (mut seen, mut leases) = (BTreeSet::new(), Vec::new());
    while leases.len() < ACTIONS {
        lossy.lose(1);
        let taken = fixture.take(FEW).await;
        assert_eq!(taken.len(), FEW, "{} are left", ACTIONS - leases.len());
        for lease in &taken {
            assert!(seen.insert(lease.action), "{} is leased twice", lease.action);
            assert_eq!(lease.attempt, 1);
        }
        leases.extend(taken);
    }
    say(&lossy, "takes");
    assert_eq!(lossy.lost(), (ACTIONS / FEW) as u64);
    lossy.lose(0);
    assert_eq!(fixture.take(9).await.len(), 0);
    for lease in &leases {
        assert_eq!(fixture.settle(lease, ack()).await, Settled::Done);
    }
    fixture.pass(LEASE);
    assert_eq!(fixture.take(9).await.len(), 0);
}

/// The taker dies before it gets an answer. Others get what it had when its time is up, and no sooner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_taker_had_that_died_without_an_answer_comes_back_in_time() {
    let Some((fixture, lossy)) = with_actions(takes).await else { return };
    lossy.lose(u64::MAX);
    // With a runtime of its own: nothing of it goes on when that ends.
    let dying = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::block_in_place(|| {
        dying.block_on(async {
            let (store, queue) = (fixture.beside("dying").await.unwrap(), queue());
            tokio::select! {
                biased;
                () = at_least_one(&lossy) => {}
                taken = store.take(&queue, FEW, LEASE) => assert!(taken.is_err(), "{taken:?}"),
            }
        });
        drop(dying);
    });
    lossy.lose(0);
    say(&lossy, "takes");
    assert!(lossy.lost() > 0);
    let rest = fixture.take(ACTIONS).await;
    assert_eq!(rest.len(), ACTIONS - FEW);
    fixture.pass(LEASE - TICK);
    assert_eq!(fixture.take(ACTIONS).await.len(), 0);
    for lease in &rest {
        assert_eq!(fixture.settle(lease, ack()).await, Settled::Done);
    }
    fixture.pass(TICK);
    let back = fixture.take(ACTIONS).await;
    assert_eq!(back.len(), FEW);
    let acked: BTreeSet<_> = rest.iter().map(|lease| lease.action).collect();
    assert!(back.iter().all(|lease| !acked.contains(&lease.action)));
    assert!(back.iter().all(|lease| lease.attempt == 2), "it may have begun");
}

/// How often the fault hit.
fn say(lossy: &Lossy, what: &str) {
    _ = writeln!(std::io::stderr(), "{} answers of {what} were lost", lossy.lost());
}

async fn at_least_one(lossy: &Lossy) {
    while lossy.lost() == 0 {
        tokio::time::sleep(TICK).await;
    }
}
