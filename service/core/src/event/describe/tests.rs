//! Descriptions by whole values.

use bytes::Bytes;

use super::{Described, Describer};
use crate::{event::Document, expression::Expression, json, path::Path};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// A source that sets nothing.
fn plain() -> Describer {
    Describer {
        event_type_path: None,
        timestamp_path: path("timestamp"),
        key_path: Some(path("messageId")),
        preprocess: Vec::new(),
        redact: Vec::new(),
    }
}

fn computing(entries: &[(&str, &str)]) -> Describer {
    let compiled =
        |(name, text): &(&str, &str)| ((*name).to_owned(), Expression::compile(text).unwrap());
    Describer { preprocess: entries.iter().map(compiled).collect(), ..plain() }
}

fn redacting(paths: &[&str]) -> Describer {
    Describer { redact: paths.iter().map(|text| path(text)).collect(), ..plain() }
}

fn describe(describer: &Describer, body: &str) -> Described {
    let headers = headers();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let full = describer.describe(&body, &headers);
    let brief = describer.describe_briefly(&body, &headers);
    // Less work, same answer; what it may leave out is checked where it matters.
    let expected = Described { document: None, notes: brief.notes.clone(), ..full.clone() };
    assert_eq!(brief, expected, "described briefly");
    assert!(brief.notes.iter().all(|note| full.notes.contains(note)));
    assert_eq!(full.unmappable.is_some(), full.event_type.is_none());
    full
}

fn headers() -> Vec<(String, String)> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        header("user-agent", "Segment (Actions)"),
        header("X-Kind", "signup"),
        header("via", "one"),
        header("Via", "two"),
    ]
}

const HEADERS: &str = r#"{"user-agent":"Segment (Actions)","x-kind":"signup","via":"one, two"}"#;

fn document(body: &str, preprocess: &str) -> Option<Document> {
    let read = |text: &str| json::read(text.as_bytes()).unwrap();
    Some(Document { body: read(body), headers: read(HEADERS), preprocess: read(preprocess) })
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn note(subject: &str, message: &str) -> (String, String) {
    (subject.to_owned(), message.to_owned())
}

/// What a plain source makes of `body`: type, key, order key, timestamp.
fn check(body: &str, expected: [Option<&str>; 4]) {
    let [event_type, key, order_key, timestamp] = expected.map(|text| text.map(str::to_owned));
    let expected = Described {
        document: document(body, "{}"),
        event_type,
        key,
        order_key,
        timestamp,
        unmappable: None,
        notes: Vec::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    assert_eq!(describe(&plain(), body), expected, "of {body}");
}

#[test]
fn every_type_segment_sends_is_described() {
    check(
        r#"{"type":"identify","messageId":"m1","userId":"u1","traits":{"name":"Ada"},"timestamp":"2026-03-02T10:15:30.220Z"}"#,
        [Some("identify"), Some("m1"), Some("user:u1"), Some("2026-03-02T10:15:30.220Z")],
    );
    check(
        r#"{"messageId":"m2","type":"track","userId":"user-1","event":"Order Completed","properties":{"revenue":39.95}}"#,
        [Some("track/Order Completed"), Some("m2"), Some("user:user-1"), None],
    );
    check(
        r#"{"type":"page","messageId":"m3","userId":null,"anonymousId":"a1","name":"Pricing","category":null}"#,
        [Some("page"), Some("m3"), Some("anonymous:a1"), None],
    );
    check(
        r#"{"type":"screen","messageId":"9F0E1C2B-7D5A-4A1E-8B3C-1D2E3F405162","userId":"u1"}"#,
        [Some("screen"), Some("9F0E1C2B-7D5A-4A1E-8B3C-1D2E3F405162"), Some("user:u1"), None],
    );
    check(
        r#"{"type":"group","messageId":"m5","userId":"u1","groupId":"acme","traits":{"total billed":830}}"#,
        [Some("group"), Some("m5"), Some("user:u1"), None],
    );
    check(
        r#"{"type":"alias","messageId":"m6","userId":"u1","previousId":"a1"}"#,
        [Some("alias"), Some("m6"), Some("user:u1"), None],
    );
    check(
        r#"{"type":"delete","messageId":"delete-reg-1::job-2-P1","userId":"u1","context":null,"integrations":null,"timestamp":"2020-05-09 23:54:49.2 +0000 UTC m=+70366.29"}"#,
        [
            Some("delete"),
            Some("delete-reg-1::job-2-P1"),
            Some("user:u1"),
            Some("2020-05-09 23:54:49.2 +0000 UTC m=+70366.29"),
        ],
    );
}

#[test]
fn types_are_taken_verbatim() {
    for event in ["a/b", "user.signed up", "100%", "🎉 “v2”", "Order Completed ", &"x".repeat(1000)]
    {
        check(
            &format!(r#"{{"type":"track","event":"{event}"}}"#),
            [Some(&format!("track/{event}")), None, None, None],
        );
    }
    check(r#"{"type":"Track","event":"a"}"#, [Some("Track"), None, None, None]);
    check(r#"{"type":"video"}"#, [Some("video"), None, None, None]);
}

#[test]
fn hard_json_is_described() {
    let body = r#"{"messageId":"747b\ud83d","type":"track","userId":"用户-42","event":"folder/file.saved  “v2” ✅","properties":{"lone_high":"\ud83d","lone_low":"x\ude00y","big":12345678901234567000,"nul":"\u0000"}}"#;
    check(
        body,
        [
            Some("track/folder/file.saved  “v2” ✅"),
            Some("747b\u{fffd}"),
            Some("user:用户-42"),
            None,
        ],
    );
}

#[test]
fn order_keys_name_the_user_or_else_the_visitor() {
    let order = |ids: &str, expected: Option<&str>| {
        check(&format!(r#"{{"type":"page",{ids}}}"#), [Some("page"), None, expected, None]);
    };
    order(r#""userId":"u","anonymousId":"a""#, Some("user:u"));
    order(r#""userId":"","anonymousId":"a""#, Some("anonymous:a"));
    order(r#""userId":null,"anonymousId":null"#, None);
    order(r#""userId":12345678901234567000"#, Some("user:12345678901234567000"));
    order(r#""userId":{"id":1},"anonymousId":7"#, Some("anonymous:7"));
    order(r#""x":1"#, None);
}

#[test]
fn timestamps_are_never_interpreted() {
    let timestamp = |value: &str, expected: Option<&str>| {
        let body = format!(r#"{{"type":"page","timestamp":{value}}}"#);
        check(&body, [Some("page"), None, None, expected]);
    };
    timestamp(r#""2999-01-01""#, Some("2999-01-01"));
    timestamp(r#""not a date""#, Some("not a date"));
    timestamp("1772446529998", Some("1772446529998"));
    timestamp("null", None);
    timestamp(r#""""#, None);
    timestamp("[1]", None);
}

#[test]
fn what_cannot_be_mapped_says_why() {
    let check = |body: &str, reason: &str| {
        let described = describe(&plain(), body);
        assert_eq!(described.unmappable.as_deref(), Some(reason), "of {body}");
        assert_eq!(described.body, body, "is kept");
        assert_eq!(described.notes, []);
    };
    check("", "the body is empty");
    check("{", "the body is not JSON: EOF while parsing an object at byte 1");
    check("\u{feff}{}", "the body is not JSON: expected value at byte 0");
    check(&"[".repeat(10_000), "the body is nested deeper than 128 levels");
    check("null", "the body is null, expected an object");
    check("[{}]", "the body is a list, expected an object");
    check("7", "the body is a number, expected an object");
    check("\"track\"", "the body is a string, expected an object");
    let needs =
        |what| format!("the event type: `type` {what}, expected a string that is not empty");
    check("{}", &needs("is not there"));
    check(r#"{"type":null}"#, &needs("is null"));
    check(r#"{"type":""}"#, &needs("is an empty string"));
    check(r#"{"type":1}"#, &needs("is a number"));
    let needs = |what| format!("a track whose `event` {what}, expected a string that is not empty");
    check(r#"{"type":"track"}"#, &needs("is not there"));
    check(r#"{"type":"track","event":""}"#, &needs("is an empty string"));
    check(r#"{"type":"track","event":{"a":1}}"#, &needs("is an object"));
}

#[test]
fn an_unmappable_object_is_described_otherwise() {
    let body = r#"{"messageId":"m1","userId":"u1","timestamp":"t"}"#;
    let expected = Described {
        document: document(body, "{}"),
        event_type: None,
        key: some("m1"),
        order_key: some("user:u1"),
        timestamp: some("t"),
        unmappable: some(
            "the event type: `type` is not there, expected a string that is not empty",
        ),
        notes: Vec::new(),
        body: body.into(),
    };
    assert_eq!(describe(&plain(), body), expected);
}

#[test]
fn the_event_type_can_be_elsewhere() {
    let check = |at: &str, expected: Result<&str, &str>| {
        let describer = Describer { event_type_path: Some(path(at)), ..plain() };
        let described = describe(&describer, r#"{"type":"page","kind":"k","n":1,"e":""}"#);
        let found = (described.event_type.as_deref(), described.unmappable.as_deref());
        assert_eq!(found, (expected.ok(), expected.err()), "at {at}");
    };
    check("kind", Ok("k"));
    check("headers.x-kind", Ok("signup"));
    check("n", Err("the event type: body.n is a number, expected a string that is not empty"));
    check(
        "e",
        Err("the event type: body.e is an empty string, expected a string that is not empty"),
    );
    check("x", Err("the event type: body.x is not there, expected a string that is not empty"));
}

#[test]
fn the_event_type_and_the_key_can_be_computed() {
    let describer = Describer {
        event_type_path: Some(path("preprocess.kind")),
        key_path: Some(path("preprocess.key")),
        ..computing(&[("kind", "body.a"), ("key", "body.b")])
    };
    let described = describe(&describer, r#"{"a":"A","b":"B"}"#);
    assert_eq!(described.event_type, some("A"));
    assert_eq!(described.key, some("B"));
}

#[test]
fn keys_that_are_no_keys_are_dropped() {
    let key = |value: &str| {
        let described = describe(&plain(), &format!(r#"{{"type":"page","messageId":{value}}}"#));
        (described.key, described.notes)
    };
    let quoted = |text: &str| key(&format!("\"{text}\""));
    let dropped = |what: &str| {
        let message = format!(
            "not deduplicated: body.messageId {what}, expected a string of 1 to 255 characters"
        );
        (None, vec![note("idempotency", &message)])
    };
    assert_eq!(quoted("m"), (some("m"), vec![]));
    assert_eq!(quoted(&"k".repeat(255)), (some(&"k".repeat(255)), vec![]));
    assert_eq!(quoted(&"🔑".repeat(255)), (some(&"🔑".repeat(255)), vec![]));
    assert_eq!(key("null"), (None, vec![]));
    assert_eq!(quoted(&"k".repeat(256)), dropped("is too long"));
    assert_eq!(quoted(&"🔑".repeat(256)), dropped("is too long"));
    assert_eq!(quoted(""), dropped("is an empty string"));
    assert_eq!(key("7"), dropped("is a number"));
    assert_eq!(key("{}"), dropped("is an object"));

    let off = Describer { key_path: None, ..plain() };
    let described = describe(&off, r#"{"type":"page","messageId":7}"#);
    assert_eq!((described.key, described.notes), (None, vec![]));
}

#[test]
fn computed_values_see_the_ones_before_them() {
    let describer = computing(&[
        ("pro", r#"body.plan == "pro""#),
        ("broken", "body.nowhere.at.all"),
        ("again", "preprocess.pro"),
        ("late", "preprocess.broken"),
    ]);
    let body = r#"{"type":"page","plan":"pro"}"#;
    let described = describe(&describer, body);
    assert_eq!(described.document, document(body, r#"{"pro":true,"again":true}"#));
    let subjects: Vec<_> = described.notes.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["broken", "late"]);
    assert!(described.notes.iter().all(|(_, message)| message.starts_with("not set: ")));
}

#[test]
fn redacted_values_are_gone_everywhere() {
    let describer = Describer {
        preprocess: computing(&[("seen", "body.context.ip")]).preprocess,
        ..redacting(&["context.ip", "people[*].email"])
    };
    let body = r#"{"type": "page", "context": {"ip": "203.0.113.7", "n": 1e+21}, "people": [{"email": "a"}, {"email": "b"}]}"#;
    let kept = r#"{"type":"page","context":{"n":1e+21},"people":[{},{}]}"#;
    let described = describe(&describer, body);
    assert_eq!(described.body, kept);
    assert_eq!(described.document, document(kept, "{}"));
    assert_eq!(described.notes.len(), 1, "the computed value is not set");
}

#[test]
fn redaction_reaches_what_hides_behind_a_repeated_key() {
    let body = r#"{"type":"page","context":{"ip":"203.0.113.7"},"context":{}}"#;
    assert_eq!(describe(&redacting(&["context.ip"]), body).body, r#"{"type":"page","context":{}}"#);
}

#[test]
fn redacting_the_type_makes_an_event_unmappable() {
    assert!(describe(&redacting(&["type"]), r#"{"type":"page"}"#).unmappable.is_some());
    let whole = describe(&redacting(&["body"]), r#"{"type":"page"}"#);
    assert_eq!(whole.unmappable, some("the body is null, expected an object"));
    assert_eq!(whole.body, "null");
}

#[test]
fn what_cannot_be_redacted_is_not_kept() {
    let described = describe(&redacting(&["context.ip"]), "ip=203.0.113.7");
    let expected = Described {
        unmappable: some("the body is not JSON: expected value at byte 0"),
        notes: vec![note(
            "redact",
            "the 14 bytes of the body were not kept: they cannot be read, so nothing could be \
             redacted from them",
        )],
        ..Described::unmappable(String::new(), Bytes::new())
    };
    assert_eq!(described, expected);
    assert_eq!(describe(&redacting(&["context.ip"]), "").notes, []);
}
