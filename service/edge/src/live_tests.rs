//! What a source answers before and after its secrets have proved right.

use std::time::{Duration, Instant};

use bytes::Bytes;
use segment_source_core::signature::{Hint, ReceivedRequest, Secret, SignatureHeader};
use segment_source_proto::config::v1::{
    RateLimit, RequiredHeader, SecretValue, Verification,
    verification::{BatchPolicy, Mode},
};

use super::LiveSource;
use crate::Reply;

const GRACE: Duration = Duration::from_secs(60);

fn value(text: &str) -> SecretValue {
    SecretValue { value: Bytes::copy_from_slice(text.as_bytes()) }
}

fn wire(secrets: &[&str]) -> Verification {
    Verification {
        mode: Mode::Enforce.into(),
        secrets: secrets.iter().map(|text| value(text)).collect(),
        rotation_grace_ms: 60_000,
        batch_policy: BatchPolicy::FirstElement.into(),
        required_header: Some(RequiredHeader {
            name: "x-token".to_owned(),
            value: Some(value("t0ken")),
        }),
        ..Verification::default()
    }
}

fn source(verification: &Verification, previous: Option<&LiveSource>, now: Instant) -> LiveSource {
    LiveSource::from_wire(&"prod/web".parse().unwrap(), verification, previous, now).unwrap()
}

/// A request for `body`, signed with `secret` over `message`.
fn request(body: &str, secret: &str, message: &str, token: &str) -> ReceivedRequest {
    let signature = Secret::new(secret.as_bytes()).unwrap().sign(message.as_bytes());
    ReceivedRequest::new(
        Bytes::copy_from_slice(body.as_bytes()),
        SignatureHeader::Present(signature),
    )
    .with_token([token.as_bytes()])
}

/// The answer to a single event signed with `secret`; `None` when it passes.
fn reply(source: &LiveSource, secret: &str, now: Instant) -> Option<Reply> {
    source.verify(request("{}", secret, "{}", ""), now).err().map(|refused| refused.reply)
}

/// The answer to a batch whose first element is signed with `s`, with this token.
fn batch(source: &LiveSource, token: &str, now: Instant) -> Option<Reply> {
    source.verify(request("[1,2]", "s", "1", token), now).err().map(|refused| refused.reply)
}

#[test]
fn a_mismatch_is_final_once_the_secret_has_verified_something() {
    let now = Instant::now();
    let source = source(&wire(&["s"]), None, now);
    assert_eq!(reply(&source, "wrong", now), Some(Reply::SecretUnproven));
    assert_eq!(reply(&source, "s", now), None);
    assert_eq!(reply(&source, "wrong", now), Some(Reply::SignatureMismatch));
}

/// During a rotation the Secret with the new value is not there yet: what is signed with it must
/// not be lost, though the old one is proven.
#[test]
fn nothing_is_final_while_a_secret_is_missing() {
    let now = Instant::now();
    let whole = source(&wire(&["s"]), None, now);
    assert_eq!(reply(&whole, "s", now), None);
    let unresolved = vec!["key `new` of Secret `web` is not there".to_owned()];
    let part = source(&Verification { unresolved, ..wire(&["s"]) }, Some(&whole), now);
    assert_eq!(reply(&part, "s", now), None);
    assert_eq!(reply(&part, "new", now), Some(Reply::SecretNotLoaded));
    assert_eq!(batch(&part, "wrong", now), Some(Reply::SecretNotLoaded));
    let whole = source(&wire(&["s", "new"]), Some(&part), now);
    assert_eq!(reply(&whole, "new", now), None);
    assert_eq!(reply(&whole, "wrong", now), Some(Reply::SignatureMismatch));
}

#[test]
fn a_mismatch_is_final_after_the_grace() {
    let now = Instant::now();
    let source = source(&wire(&["s"]), None, now);
    let almost = now + GRACE - Duration::from_millis(1);
    assert_eq!(reply(&source, "wrong", almost), Some(Reply::SecretUnproven));
    assert_eq!(reply(&source, "wrong", now + GRACE), Some(Reply::SignatureMismatch));
}

#[test]
fn what_was_learned_lives_as_long_as_the_secrets_are_the_same() {
    let now = Instant::now();
    let first = source(&wire(&["a", "b"]), None, now);
    assert_eq!(reply(&first, "a", now), None);
    let same = source(&wire(&["b", "a"]), Some(&first), now);
    assert_eq!(reply(&same, "wrong", now), Some(Reply::SignatureMismatch));
    let rotated = source(&wire(&["b"]), Some(&same), now);
    assert_eq!(reply(&rotated, "wrong", now), Some(Reply::SecretUnproven));
    assert_eq!(reply(&rotated, "b", now), None);
}

#[test]
fn a_secret_keeps_what_it_proved_when_another_goes() {
    let now = Instant::now();
    let both = source(&wire(&["old", "new"]), None, now);
    assert_eq!(reply(&both, "new", now), None);
    let one = source(&wire(&["new"]), Some(&both), now);
    assert_eq!(reply(&one, "wrong", now), Some(Reply::SignatureMismatch));
    // And when it comes back.
    let other = source(&wire(&["third"]), Some(&one), now);
    assert_eq!(reply(&other, "wrong", now), Some(Reply::SecretUnproven));
    let back = source(&wire(&["new"]), Some(&other), now);
    assert_eq!(reply(&back, "wrong", now), Some(Reply::SignatureMismatch));
}

#[test]
fn a_mistyped_secret_beside_a_proven_one_loses_nothing() {
    let now = Instant::now();
    let first = source(&wire(&["old"]), None, now);
    assert_eq!(reply(&first, "old", now), None);
    let later = now + GRACE;
    let both = source(&wire(&["old", "mistyped"]), Some(&first), later);
    assert_eq!(reply(&both, "old", later), None);
    // Segment has the right one now.
    assert_eq!(reply(&both, "new", later), Some(Reply::SecretUnproven));
    let almost = later + GRACE - Duration::from_millis(1);
    assert_eq!(reply(&both, "new", almost), Some(Reply::SecretUnproven));
    assert_eq!(reply(&both, "new", later + GRACE), Some(Reply::SignatureMismatch));
}

#[test]
fn the_clock_of_a_secret_starts_when_it_is_loaded() {
    let now = Instant::now();
    let both = source(&wire(&["a", "b"]), None, now);
    let one = source(&wire(&["b"]), Some(&both), now + GRACE / 2);
    assert_eq!(reply(&one, "wrong", now + GRACE / 2), Some(Reply::SecretUnproven));
    assert_eq!(reply(&one, "wrong", now + GRACE), Some(Reply::SignatureMismatch));
}

#[test]
fn the_required_header_has_a_latch_of_its_own() {
    let now = Instant::now();
    let first = source(&wire(&["s"]), None, now);
    assert_eq!(reply(&first, "s", now), None);
    assert_eq!(batch(&first, "wrong", now), Some(Reply::SecretUnproven));
    assert_eq!(batch(&first, "t0ken", now), None);
    assert_eq!(batch(&first, "wrong", now), Some(Reply::RequiredHeaderWrong));
    let mut renewed = wire(&["s"]);
    renewed.required_header =
        Some(RequiredHeader { name: "x-token".to_owned(), value: Some(value("new")) });
    let renewed = source(&renewed, Some(&first), now);
    assert_eq!(batch(&renewed, "t0ken", now), Some(Reply::SecretUnproven));
    assert_eq!(reply(&renewed, "wrong", now), Some(Reply::SignatureMismatch));
    let mut missing = wire(&["s"]);
    missing.required_header = Some(RequiredHeader { name: "x-token".to_owned(), value: None });
    let missing = source(&missing, Some(&first), now);
    assert_eq!(batch(&missing, "t0ken", now), Some(Reply::SecretNotLoaded));
}

#[test]
fn a_previous_secret_is_a_hint_and_hints_are_bounded() {
    let now = Instant::now();
    let first = source(&wire(&["old"]), None, now);
    let second = source(&wire(&["new"]), Some(&first), now);
    let third = source(&wire(&["new"]), Some(&second), now);
    let hint = |at| third.verify(request("{}", "old", "{}", ""), at).unwrap_err().hint;
    let hints: Vec<Option<Hint>> = (0..7).map(|_| hint(now)).collect();
    assert_eq!(hints[..5], [Some(Hint::PreviousSecret); 5]);
    assert_eq!(hints[5..], [None; 2]);
    assert_eq!(hint(now + Duration::from_secs(1)), Some(Hint::PreviousSecret));
}

#[test]
fn a_rate_limit_survives_configuration_that_does_not_change_it() {
    let now = Instant::now();
    let limited = |per_second| Verification {
        rate_limit: Some(RateLimit { events_per_second: per_second, burst: 1 }),
        ..wire(&["s"])
    };
    let first = source(&limited(1), None, now);
    assert_eq!(first.admit(1, now), Ok(()));
    let second = source(&limited(1), Some(&first), now);
    let wait = Duration::from_secs(1);
    assert_eq!(second.admit(1, now), Err(Reply::RateLimited { retry_after: wait }));
    assert_eq!(second.admit(0, now), Ok(()));
    assert_eq!(source(&limited(2), Some(&second), now).admit(1, now), Ok(()));
}

#[test]
fn what_the_compiler_never_makes_is_refused() {
    let id = "prod/web".parse().unwrap();
    let check = |verification: Verification, message: &str| {
        let refused = LiveSource::from_wire(&id, &verification, None, Instant::now()).unwrap_err();
        assert_eq!(refused, format!("source prod/web: verification.{message}"));
    };
    let good = || wire(&["s"]);
    check(Verification { mode: 0, ..good() }, "mode is not set");
    check(Verification { batch_policy: 0, ..good() }, "batch_policy is not set");
    check(
        Verification { required_header: None, ..good() },
        "required_header is not set, and FIRST_ELEMENT needs it",
    );
    check(Verification { rotation_grace_ms: -1, ..good() }, "rotation_grace_ms is negative");
    check(
        Verification { secrets: vec![value("s"); 5], ..good() },
        "secrets holds 5 signing secrets: a source has at most 4",
    );
    let limit = RateLimit { events_per_second: 0, burst: 1 };
    check(
        Verification { rate_limit: Some(limit), ..good() },
        "rate_limit has a rate or burst of 0",
    );
}

#[test]
fn an_empty_secret_is_none() {
    let source = source(&wire(&[""]), None, Instant::now());
    assert_eq!(source.is_open(), Err(Reply::SecretNotLoaded));
}
