//! Every row of the table of answers, caused over a socket, and what a 202 means.

use std::{collections::BTreeSet, time::Duration};

use segment_source_edge::{Reply, Settings, SourceState};
use segment_source_proto::{
    config::v1::{RateLimit, Verification, verification::Mode},
    event::v1::{Header, Verdict},
    ingest::v1::submit_failure::Reason,
};

use tokio::task::JoinSet;

use crate::{
    client::{Connection, Post},
    ingest::Behaviour,
    rig::{Rig, TOKEN, enforce, first_element, secret, whole_body},
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
/// A time that is waited out.
const SHORT: Duration = Duration::from_millis(300);

const ONE: RateLimit = RateLimit { events_per_second: 1, burst: 1 };

/// A batch that leaves a source with the limit [`ONE`] in debt for longer than any test.
fn in_debt() -> String {
    format!("[{}0]", "0,".repeat(59))
}

/// The rows a test has seen.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    async fn check(&mut self, rig: &Rig, post: Post, status: u16, code: &str) {
        let answer = rig.check(post, status, code).await;
        let row = Reply::ALL.iter().map(|reply| reply.row()).find(|row| row.code == code).unwrap();
        let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().unwrap());
        match status {
            // Computed: the debt of the batch before.
            429 => assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds))),
            _ => assert_eq!(seconds, row.retry_after, "{code}"),
        }
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("location"), None);
        self.0.insert(code.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_is_caused_over_a_socket() {
    let mut seen = Seen::default();
    let rig = Rig::start(Settings { body_limit: 1 << 20, ..Settings::default() }).await;
    let signed = || Post::signed("{}");

    rig.change(|sources| sources.synced = false);
    seen.check(&rig, signed(), 503, "not_synced").await;
    rig.change(|sources| sources.synced = true);
    // Nor is it known what is in a namespace that nobody can read.
    rig.change(|sources| sources.unread = ["prod".to_owned()].into());
    seen.check(&rig, signed(), 503, "not_synced").await;
    rig.change(|sources| sources.unread.clear());
    seen.check(&rig, signed(), 404, "source_unknown").await;
    seen.check(&rig, signed().path("/v1/sources/prod/web/"), 404, "path_unknown").await;
    rig.set("prod/web", SourceState::NotLoaded { reason: "a bad edit".to_owned() });
    seen.check(&rig, signed(), 503, "source_not_loaded").await;
    rig.set("prod/web", SourceState::RecentlyRemoved);
    seen.check(&rig, signed(), 503, "source_removed").await;
    rig.configure("prod/web", Verification { secrets: vec![], ..enforce() });
    seen.check(&rig, signed(), 503, "secret_not_loaded").await;
    rig.configure("prod/web", Verification { intake_suspended: true, ..enforce() });
    seen.check(&rig, signed(), 503, "intake_suspended").await;

    rig.configure("prod/web", enforce());
    seen.check(&rig, Post::body("{}"), 503, "secret_unproven").await;
    rig.ingest.script(&[Behaviour::UnknownSource("web")]);
    seen.check(&rig, signed(), 503, "ingest_unknown_source").await;
    rig.ingest.script(&[Behaviour::Fail(Reason::Unavailable)]);
    seen.check(&rig, signed(), 503, "store_unavailable").await;
    rig.ingest.script(&[Behaviour::Fail(Reason::Full)]);
    seen.check(&rig, signed(), 503, "store_full").await;
    seen.check(&rig, signed(), 202, "accepted").await;

    seen.check(&rig, Post::body("{}"), 401, "signature_missing").await;
    seen.check(&rig, signed().signed_over(b"{}"), 401, "signature_malformed").await;
    seen.check(&rig, Post::body("{}").signed_over(b"x"), 401, "signature_mismatch").await;
    seen.check(&rig, Post::signed("[{}]"), 503, "array_refused").await;
    seen.check(&rig, signed().method("GET"), 405, "method_not_allowed").await;
    seen.check(&rig, signed().header("Content-Encoding", "gzip"), 415, "content_encoding").await;
    seen.check(&rig, Post::signed(vec![b'x'; (1 << 20) + 1]), 413, "body_too_large").await;

    rig.configure("prod/web", first_element());
    let batch = |token| Post::body("[{},1]").signed_over(b"{}").header("x-token", token);
    seen.check(&rig, batch(TOKEN), 202, "accepted").await;
    seen.check(&rig, batch("wrong"), 401, "required_header_wrong").await;

    rig.configure("prod/web", Verification { rate_limit: Some(ONE), ..whole_body() });
    seen.check(&rig, Post::signed(in_debt()), 202, "accepted").await;
    seen.check(&rig, signed(), 429, "rate_limited").await;
    rig.configure("prod/web", enforce());

    let mut connection = Connection::open(rig.edge).await;
    connection.write(Post::signed("").chunked().head().as_bytes()).await;
    connection.write(b"no chunk\r\n").await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "body_broken"));
    seen.0.insert(answer.code());

    let fresh = Connection::open(rig.edge).await;
    caused_while_draining(&mut seen, rig, fresh).await;
    caused_by_a_silent_ingest(&mut seen).await;
    caused_by_a_slow_body(&mut seen).await;
    caused_by_a_full_budget(&mut seen).await;
    caused_by_a_full_queue(&mut seen).await;
    let promised: BTreeSet<String> =
        Reply::ALL.iter().map(|reply| reply.row().code.to_owned()).collect();
    assert_eq!(seen.0, promised);
}

/// While a request under way is finished, a new one on an open connection is refused.
async fn caused_while_draining(seen: &mut Seen, rig: Rig, mut fresh: Connection) {
    rig.ingest.hold();
    let before = rig.ingest.seen();
    let edge = rig.edge;
    // Connections are accepted in order, so the fresh one is when this one is served.
    let under_way = tokio::spawn(async move { Post::signed("late").to(edge).await });
    rig.ingest.has_seen(before + 1).await;
    rig.shutdown.cancel();
    let refused = Post::signed("too late").on(&mut fresh).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(fresh.is_ended().await);
    seen.0.insert(refused.code());
    rig.ingest.release();
    let finished = under_way.await.unwrap();
    assert_eq!((finished.status, finished.code().as_str()), (202, "accepted"));
    assert_eq!(finished.header("connection"), Some("close"));
    rig.task.await.unwrap().unwrap();
}

async fn caused_by_a_silent_ingest(seen: &mut Seen) {
    let settings = Settings { deadline: SHORT, ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    rig.ingest.hold();
    seen.check(&rig, Post::signed("{}"), 503, "ingest_unreachable").await;
}

/// The body is a byte longer than what comes.
async fn caused_by_a_slow_body(seen: &mut Seen) {
    let settings = Settings { body_timeout: SHORT, ..Settings::default() };
    let rig = Rig::with(settings, enforce()).await;
    let mut connection = Connection::open(rig.edge).await;
    connection.write(Post::signed("{}x").head().as_bytes()).await;
    connection.write(b"{}").await;
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_ended().await);
    seen.0.insert(answer.code());
}

/// One large body waits for ingest, so there is no room for another one.
async fn caused_by_a_full_budget(seen: &mut Seen) {
    let settings = Settings {
        body_limit: 1 << 20,
        body_budget: 1 << 20,
        deadline: LONG,
        ..Settings::default()
    };
    let rig = Rig::with(settings, enforce()).await;
    rig.ingest.hold();
    let edge = rig.edge;
    let large = tokio::spawn(async move { Post::signed(vec![b'x'; 1 << 20]).to(edge).await });
    rig.ingest.has_seen(1).await;
    seen.check(&rig, Post::signed("{}"), 503, "over_budget").await;
    rig.ingest.release();
    assert_eq!(large.await.unwrap().code(), "accepted");
    seen.check(&rig, Post::signed("{}"), 202, "accepted").await;
}

/// Ingest takes nothing, and every request has many parts.
async fn caused_by_a_full_queue(seen: &mut Seen) {
    let rig = Rig::with(Settings { deadline: LONG, ..Settings::default() }, whole_body()).await;
    rig.ingest.hold();
    let batch = Post::signed(format!("[{}0]", "0,".repeat(9_999)));
    let mut waiting = JoinSet::new();
    for _ in 0..120 {
        let (batch, edge) = (batch.clone(), rig.edge);
        waiting.spawn(async move { batch.to(edge).await });
    }
    let refused = waiting.join_next().await.unwrap().unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
    seen.0.insert(refused.code());
}

#[tokio::test]
async fn what_comes_first_in_the_order_of_checks_decides() {
    let settings = Settings { body_limit: 1_000, ..Settings::default() };
    let rig = Rig::start(settings).await;
    let strict = Verification { rate_limit: Some(ONE), ..enforce() };
    // Wrong in every way; each line puts one thing right.
    let post = Post::body("[1]".repeat(500)).method("GET").header("content-encoding", "br");
    rig.check(post.clone(), 405, "method_not_allowed").await;
    let post = post.method("PUT");
    rig.check(post, 415, "content_encoding").await;
    rig.check(Post::body("[1]".repeat(500)), 413, "body_too_large").await;
    rig.check(Post::body("[1]"), 404, "source_unknown").await;
    let suspended = Verification { intake_suspended: true, secrets: vec![], ..strict.clone() };
    rig.configure("prod/web", suspended.clone());
    rig.check(Post::body("[1]"), 503, "secret_not_loaded").await;
    rig.configure("prod/web", Verification { secrets: strict.secrets.clone(), ..suspended });
    rig.check(Post::body("[1]"), 503, "intake_suspended").await;
    rig.configure("prod/web", Verification { rate_limit: Some(ONE), ..whole_body() });
    rig.check(Post::signed(in_debt()), 202, "accepted").await;
    rig.configure("prod/web", strict);
    rig.check(Post::body("[1]"), 401, "signature_missing").await;
    rig.check(Post::body("[1]").signed_over(b"x"), 503, "array_refused").await;
    rig.check(Post::body("1").signed_over(b"x"), 401, "signature_mismatch").await;
    rig.check(Post::signed("1"), 429, "rate_limited").await;
}

#[tokio::test]
async fn all_three_methods_are_taken_and_no_other() {
    let rig = Rig::serving(enforce()).await;
    for method in ["POST", "PUT", "PATCH"] {
        rig.check(Post::signed(method).method(method), 202, "accepted").await;
    }
    for method in ["GET", "DELETE", "OPTIONS", "BREW"] {
        let answer = rig.check(Post::signed("{}").method(method), 405, "method_not_allowed").await;
        assert_eq!(answer.header("allow"), Some("POST, PUT, PATCH"));
    }
}

#[tokio::test]
async fn other_paths_are_not_found_and_never_redirected() {
    let rig = Rig::serving(enforce()).await;
    for path in ["/", "/v1/sources/prod", "/v1/sources/prod/web/", "//v1/sources/prod/web"] {
        rig.check(Post::signed("{}").path(path), 404, "path_unknown").await;
    }
    for path in ["/v1/sources/prod/other", "/v1/sources/Prod/web", "/v1/sources/prod/w%65b"] {
        rig.check(Post::signed("{}").path(path), 404, "source_unknown").await;
    }
    rig.check(Post::signed("{}").path("/v1/sources/prod/web?a=b"), 202, "accepted").await;
}

#[tokio::test]
async fn an_event_reaches_ingest_as_it_was_sent() {
    let rig = Rig::serving(first_element()).await;
    let post = Post::body("[{\"a\": \"\\ud83d\"},null]")
        .signed_over(b"{\"a\": \"\\ud83d\"}")
        .header("X-Token", TOKEN)
        .header("Authorization", "Bearer not-a-real-one")
        .header("Cookie", "a=b")
        .header("User-Agent", "Segment (Actions)");
    let answer = rig.check(post, 202, "accepted").await;
    assert_eq!(answer.body, r#"{"accepted":2,"duplicate":0}"#);
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    let headers = vec![
        header("host", "edge.test"),
        header("user-agent", "Segment (Actions)"),
        header("content-length", "22"),
    ];
    let stored = rig.ingest.stored();
    let told: Vec<_> = stored
        .iter()
        .map(|s| (s.namespace.as_str(), s.name.as_str(), &s.body[..], s.covered, s.element))
        .collect();
    let first: &[u8] = b"{\"a\": \"\\ud83d\"}";
    assert_eq!(told, [("prod", "web", first, true, 0), ("prod", "web", b"null", false, 1)]);
    for submission in &stored {
        assert_eq!(submission.headers, headers);
        assert_eq!(submission.verdict(), Verdict::VerifiedFirstElement);
        assert_eq!(submission.receipt.len(), 16);
    }
    assert_ne!(stored[0].receipt, stored[1].receipt);
}

#[tokio::test]
async fn repeats_are_counted_as_duplicates() {
    let rig = Rig::serving(whole_body()).await;
    let answer = rig.post(Post::signed("[1,2,1]")).await;
    assert_eq!(answer.body, r#"{"accepted":2,"duplicate":1}"#);
    let answer = rig.post(Post::signed("2")).await;
    assert_eq!(answer.body, r#"{"accepted":0,"duplicate":1}"#);
    let answer = rig.post(Post::signed("[]")).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, r#"{"accepted":0,"duplicate":0}"#));
}

#[tokio::test]
async fn what_is_authentic_is_stored_whatever_it_is() {
    let rig = Rig::serving(whole_body()).await;
    let deep = format!("[{}{}]", "[".repeat(10_000), "]".repeat(10_000));
    let bodies = ["", "[1,", "no json", "\u{feff}{}", "\0", &deep[1..deep.len() - 1]];
    for body in bodies {
        rig.check(Post::signed(body), 202, "accepted").await;
    }
    // Arrays come as their elements.
    let inner = &deep[2..deep.len() - 2];
    assert_eq!(rig.ingest.bodies(), [&bodies[..5], &[inner]].concat());
}

#[tokio::test]
async fn observing_accepts_everything_with_its_verdict() {
    let rig = Rig::serving(Verification { mode: Mode::Observe.into(), ..first_element() }).await;
    rig.check(Post::body("1"), 202, "accepted").await;
    rig.check(Post::body("2").signed_over(b"x"), 202, "accepted").await;
    rig.check(Post::body("[3,4]").signed_over(b"x"), 202, "accepted").await;
    rig.check(Post::signed("5"), 202, "accepted").await;
    rig.configure(
        "prod/web",
        Verification { mode: Mode::Observe.into(), secrets: vec![], ..enforce() },
    );
    rig.check(Post::signed("[6]"), 202, "accepted").await;
    let stored = rig.ingest.stored();
    let found: Vec<(&[u8], Verdict, bool)> =
        stored.iter().map(|s| (&s.body[..], s.verdict(), s.covered)).collect();
    assert_eq!(
        found,
        [
            (&b"1"[..], Verdict::ObservedMissing, false),
            (b"2", Verdict::ObservedMismatch, false),
            (b"3", Verdict::ObservedMismatch, false),
            (b"4", Verdict::ObservedMismatch, false),
            (b"5", Verdict::VerifiedBody, true),
            (b"6", Verdict::ObservedNoSecret, false),
        ]
    );
}

#[tokio::test]
async fn metrics_count_answers_and_explain_mismatches() {
    let rig = Rig::serving(enforce()).await;
    rig.prime().await;
    rig.configure("prod/web", Verification { secrets: vec![secret("new")], ..enforce() });
    rig.check(Post::signed("{}"), 503, "secret_unproven").await;
    let metrics = rig.metrics();
    for line in [
        r#"segment_source_edge_requests_total{status="202",reason="accepted"} 1"#,
        r#"segment_source_edge_requests_total{status="503",reason="secret_unproven"} 1"#,
        r#"segment_source_edge_verification_failures_total{cause="signature_mismatch",hint="previous_secret"} 1"#,
        "segment_source_edge_received_bytes_total 16",
        "segment_source_edge_requests_under_way 0",
        "segment_source_edge_body_budget_used_bytes 0",
        "segment_source_edge_batch_events_count 1",
        "segment_source_edge_submit_seconds_count 1",
        "segment_source_edge_stream_breaks_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}
