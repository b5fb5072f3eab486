//! The election step by step, and terms on a paused clock.

use std::{convert::Infallible, time::Duration};

use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::time::{Instant, advance, sleep, timeout};

use super::{
    Candidate, Settings,
    elector::{Elector, Record, Step},
    term::Office,
};
use crate::metrics::ApiErrors;

const DURATION: Duration = Duration::from_secs(15);
const FIRST: u64 = 3000;

fn record(version: u32, holder: Option<&str>, transitions: u64) -> Record {
    Record {
        version: Some(version.to_string()),
        holder: holder.map(str::to_owned),
        transitions,
        duration: DURATION,
        acquired: None,
    }
}

fn candidate() -> Elector {
    Elector::new("b".to_owned(), DURATION)
}

#[test]
fn a_lease_is_taken_when_there_is_none_or_it_was_given_back() {
    let now = Instant::now();
    let made = Record { version: None, ..record(0, Some("b"), FIRST) };
    assert_eq!(candidate().step(now, None, FIRST), Step::Hold(made));
    let step = candidate().step(now, Some(&record(4, None, 7)), FIRST);
    assert_eq!(step, Step::Hold(record(4, Some("b"), 8)));
}

#[test]
fn another_ones_lease_runs_out_when_it_was_not_seen_to_change_for_as_long_as_it_says() {
    let (mut elector, start) = (candidate(), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(elector.step(at(0), Some(&record(1, Some("a"), 3)), FIRST), Step::Wait);
    assert_eq!(elector.step(at(14), Some(&record(1, Some("a"), 3)), FIRST), Step::Wait);
    // It was renewed: the time begins again.
    assert_eq!(elector.step(at(16), Some(&record(2, Some("a"), 3)), FIRST), Step::Wait);
    assert_eq!(elector.step(at(30), Some(&record(2, Some("a"), 3)), FIRST), Step::Wait);
    let taken = Step::Hold(record(2, Some("b"), 4));
    assert_eq!(elector.step(at(31), Some(&record(2, Some("a"), 3)), FIRST), taken);
}

#[test]
fn our_own_name_from_before_a_restart_is_another_ones() {
    let (mut elector, start) = (candidate(), Instant::now());
    let theirs = record(1, Some("b"), 3);
    assert_eq!(elector.step(start, Some(&theirs), FIRST), Step::Wait);
    let taken = Step::Hold(record(1, Some("b"), 4));
    assert_eq!(elector.step(start + DURATION, Some(&theirs), FIRST), taken);
}

#[test]
fn what_we_wrote_is_renewed_in_the_same_epoch_until_another_wrote() {
    let (mut elector, now) = (candidate(), Instant::now());
    elector.wrote(&record(5, Some("b"), 4));
    let renewed = elector.step(now, Some(&record(5, Some("b"), 4)), FIRST);
    assert_eq!(renewed, Step::Hold(record(5, Some("b"), 4)));
    elector.wrote(&record(6, Some("b"), 4));
    assert_eq!(elector.step(now, Some(&record(7, Some("a"), 5)), FIRST), Step::Wait);
    assert_eq!(elector.release(), None);
    // Not even under our own name.
    elector.wrote(&record(8, Some("b"), 6));
    assert_eq!(elector.step(now, Some(&record(9, Some("b"), 7)), FIRST), Step::Wait);
}

#[test]
fn what_is_given_back_is_nobodys() {
    let mut elector = candidate();
    elector.wrote(&record(5, Some("b"), 4));
    let released = Record { duration: Duration::from_secs(1), ..record(5, None, 4) };
    assert_eq!((elector.release(), elector.release()), (Some(released), None));
}

/// Without it, a test whose clock stands still would wait for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DURATION * 10, future).await.expect("it comes by itself")
}

#[tokio::test(start_paused = true)]
async fn a_term_is_over_at_its_end_without_anyone_saying_so() {
    let (office, leadership) = Office::new();
    assert_eq!(leadership.epoch(), None);
    office.hold(3, Instant::now() + DURATION);
    assert_eq!((leadership.epoch(), leadership.begun(None).await), (Some(3), 1));
    advance(DURATION - Duration::from_millis(1)).await;
    assert_eq!(leadership.epoch(), Some(3));
    // Stopped and continued: nothing ran in between.
    advance(Duration::from_millis(1)).await;
    assert_eq!((leadership.epoch(), office.is_held()), (None, true));
    soon(leadership.over(3)).await;
    soon(office.expired()).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_of_a_term_is_woken_at_its_end() {
    let (office, leadership) = Office::new();
    let end = Instant::now() + DURATION;
    office.hold(3, end);
    soon(async { tokio::join!(leadership.over(3), office.expired()) }).await;
    assert!(Instant::now() >= end && leadership.epoch().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_term_that_is_renewed_goes_on() {
    let (office, leadership) = Office::new();
    let start = Instant::now();
    office.hold(3, start + DURATION);
    let over = leadership.over(3);
    let renewals = async {
        for _ in 0..3 {
            advance(DURATION / 2).await;
            office.hold(3, Instant::now() + DURATION);
        }
        leadership.over(3).await;
        Instant::now()
    };
    let ((), end) = soon(async { tokio::join!(over, renewals) }).await;
    assert!(end >= start + DURATION * 5 / 2, "{:?}", end - start);
    office.leave("test");
    office.hold(4, end + DURATION);
    assert_eq!((leadership.begun(Some(1)).await, leadership.epoch()), (2, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_term_that_lapsed_is_followed_by_another_one_of_the_same_epoch() {
    let (office, leadership) = Office::new();
    let hold = || office.hold(3, Instant::now() + DURATION);
    hold();
    assert_eq!(leadership.begun(None).await, 1);
    // It goes on.
    hold();
    assert_eq!(leadership.begun(Some(1)).now_or_never(), None);
    // The Lease was renewed too late, and nobody else had taken it; the log may have heard or not.
    office.leave("test");
    hold();
    assert_eq!(leadership.begun(Some(1)).now_or_never(), Some(2));
    advance(DURATION).await;
    hold();
    assert_eq!(leadership.begun(Some(2)).now_or_never(), Some(3));
    assert_eq!(leadership.epoch(), Some(3));
}

/// An API server without Leases, which takes its time: who else looks may see what was written long
/// before the writer has the answer.
async fn slowly(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    sleep(Duration::from_secs(2)).await;
    let (code, body) = match *request.method() {
        Method::GET => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "NotFound", "code": 404});
            (404, status.to_string().into_bytes())
        }
        _ => (201, request.into_body().collect_bytes().await.unwrap().to_vec()),
    };
    Ok(Response::builder().status(code).body(Body::from(body)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_term_is_over_before_anyone_else_can_begin_one() {
    let client = Client::new(tower::service_fn(slowly), "default");
    let settings = Settings {
        namespace: "default".to_owned(),
        lease: "lease".to_owned(),
        holder: "b".to_owned(),
        duration: DURATION,
    };
    let (office, leadership) = Office::new();
    let mut candidate = Candidate::new(client, settings, office, ApiErrors::default());
    let begun = Instant::now();
    candidate.turn().await;
    assert!(Instant::now() >= begun + Duration::from_secs(4), "both requests are slow");
    let epoch = leadership.epoch().expect("it leads");
    soon(leadership.over(epoch)).await;
    // What is written after this moment is seen after it, and waited for that long.
    assert!(Instant::now() < begun + DURATION, "{:?}", Instant::now() - begun);
}
