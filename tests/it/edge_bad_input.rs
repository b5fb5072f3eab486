//! What nobody should send, and its exact answer; afterwards the server is as healthy and as small
//! as before. Everything authentic is in the log, however odd.

use std::time::Duration;

use segment_source_proto::admin::v1::Outcome;
use segment_source_tests::{
    http::{Connection, Request, call},
    manifest::welcome_mapping,
    server::{Server, target, webhook},
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    wait::soon,
};
use serde_json::json;

/// Far more than a debug build needs, far less than what all these tests send.
const ROOM: u64 = 300 << 20;

fn body() -> String {
    track(&fresh_id(), "user-1", "Signed Up").to_string()
}

/// A source that has verified something, so that a mismatch is final.
async fn primed() -> (Site, Server) {
    let header = json!({"policy": "WholeBody"});
    let site = Site::with_web(json!({
        "verification": {"batches": header},
        "mappings": [welcome_mapping()],
    }));
    let server = site.start().await;
    assert_eq!(server.post("web", body()).await.counts(), (1, 0));
    (site, server)
}

#[tokio::test]
async fn signatures_that_are_not_exactly_right_are_401() {
    let (_site, mut server) = primed().await;
    let body = body();
    let right = sign(SECRET.as_bytes(), body.as_bytes());
    let other = sign(SECRET.as_bytes(), b"another body");
    let upper = right.to_uppercase();
    assert_ne!(right, upper, "forty digits without a letter would be remarkable");
    let cases = [
        ("wrong", vec![other.clone()]),
        ("empty", vec![String::new()]),
        ("upper-case", vec![upper]),
        ("prefixed", vec![format!("sha1={right}")]),
        ("truncated", vec![right[..39].to_owned()]),
        ("half", vec![right[..20].to_owned()]),
        ("longer", vec![format!("{right}0")]),
        ("not hex", vec!["z".repeat(40)]),
        ("doubled", vec![right.clone(), right.clone()]),
        ("right and wrong", vec![right.clone(), other.clone()]),
        ("wrong and right", vec![other, right.clone()]),
        ("joined", vec![format!("{right}, {right}")]),
        ("huge", vec!["a".repeat(16_000)]),
    ];
    for (name, signatures) in cases {
        let request = signatures.iter().fold(webhook("web"), |it, s| it.header("X-Signature", s));
        let reply = call(server.http, &request.body(body.as_bytes())).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.text());
        assert!(!reply.text().contains(&right), "{name}: the answer tells the right one");
    }
    assert_eq!(server.post_unsigned("web", body.as_bytes()).await.status, 401, "missing");
    // Nothing of that is remembered against the genuine one, in whatever case its header's name is.
    let request = webhook("web").header("x-SIGNATURE", &right).body(body.as_bytes());
    assert_eq!(call(server.http, &request).await.counts(), (1, 0));
    assert_eq!(server.events("web").await.len(), 2);
    assert!(!server.log().contains(&right), "a signature is in the log");
    assert!(!server.log().contains(SECRET), "the secret is in the log");
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_401() {
    let (_site, server) = primed().await;
    let body = body().into_bytes();
    let signature = sign(SECRET.as_bytes(), &body);
    for at in [0, 1, body.len() / 2, body.len() - 1] {
        let mut changed = body.clone();
        changed[at] ^= 1;
        assert_eq!(server.post_signed("web", &changed, &signature).await.status, 401, "byte {at}");
    }
    let longer = [body.as_slice(), b"\n"].concat();
    assert_eq!(server.post_signed("web", &longer, &signature).await.status, 401);
    // Re-encoded by a proxy: the same JSON, other bytes.
    let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let pretty = format!("{value:#}");
    assert_eq!(server.post_signed("web", pretty.as_bytes(), &signature).await.status, 401);
}

/// Signed bodies that are no proper event: accepted and visible as unmappable, with a reason.
#[tokio::test]
async fn authentic_nonsense_is_kept_as_unmappable() {
    let (_site, mut server) = primed().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b"".to_vec()),
        ("space", b"  ".to_vec()),
        ("text", b"hello".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"17".to_vec()),
        ("a string", b"\"track\"".to_vec()),
        ("a byte order mark", [b"\xef\xbb\xbf".as_slice(), body().as_bytes()].concat()),
        ("no UTF-8", b"{\"type\":\"track\",\"event\":\"\xff\xfe\"".to_vec()),
        ("half an object", br#"{"type":"track","event":"x""#.to_vec()),
        ("two objects", br#"{"type":"identify"}{"type":"identify"}"#.to_vec()),
        ("gzip bytes without the header", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("deep objects", deep_objects.into_bytes()),
        ("no type", br#"{"messageId":"m","userId":"u"}"#.to_vec()),
        ("a type that is no string", br#"{"type":7}"#.to_vec()),
        ("an empty type", br#"{"type":""}"#.to_vec()),
        ("a track without event", br#"{"type":"track","userId":"u"}"#.to_vec()),
        ("a track with an empty event", br#"{"type":"track","event":""}"#.to_vec()),
        ("a track with a number as event", br#"{"type":"track","event":5}"#.to_vec()),
    ];
    for (name, body) in &cases {
        let reply = server.post("web", body).await;
        assert_eq!(reply.counts(), (1, 0), "{name}");
        let newest = server.events("web").await.remove(0);
        assert_eq!(newest.outcome(), Outcome::Unmappable, "{name}: {newest:?}");
        assert!(!newest.unmappable.is_empty(), "{name} has no reason");
        assert_eq!(server.event(&newest.event_id).await.body, body.as_slice(), "{name}");
    }
    // Arrays: what cannot be split is one unmappable event, nothing authentic is dropped.
    for (name, body, count) in [
        ("a bracket", "[".to_owned(), 1),
        ("an unclosed array", r#"[{"type":"identify"}"#.to_owned(), 1),
        ("nulls", "[null,null]".to_owned(), 2),
        ("a deep array", deep, 1),
    ] {
        let before = server.events("web").await.len();
        assert_eq!(server.post("web", &body).await.counts(), (count, 0), "{name}");
        let events = server.events("web").await;
        assert_eq!(events.len() - before, count as usize, "{name}");
        for event in &events[..count as usize] {
            assert_eq!(event.outcome(), Outcome::Unmappable, "{name}: {event:?}");
        }
    }
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn an_empty_array_is_accepted_as_nothing() {
    let (_site, server) = primed().await;
    let before = server.events("web").await.len();
    assert_eq!(server.post("web", "[]").await.counts(), (0, 0));
    assert_eq!(server.events("web").await.len(), before);
}

#[tokio::test]
async fn unsigned_nothing_is_401() {
    let (_site, server) = primed().await;
    for body in ["", "[", "[null,{}]", "[]"] {
        assert_eq!(server.post_unsigned("web", body.as_bytes()).await.status, 401, "{body}");
    }
}

#[tokio::test]
async fn event_names_are_free_text() {
    let (_site, mut server) = primed().await;
    let long = "x".repeat(1000);
    let names =
        ["a/b.c%20d", "../../etc/passwd", "%2e%2e", "✅ 👩‍👩‍👧‍👦", "{}\"\\'`$", "\u{202e}rtl", &long];
    for name in names {
        let id = fresh_id();
        let body = track(&id, "user-1", name).to_string();
        assert_eq!(server.post("web", body).await.counts(), (1, 0), "{name}");
        let event = server.planned_one("web", &id).await.event.expect("a summary");
        assert_eq!(event.event_type, format!("track/{name}"));
        assert_eq!(event.outcome(), Outcome::NoAction);
    }
    let metrics = server.get("/metrics").await.expect("metrics").text();
    assert!(!metrics.contains("passwd"), "an event name is a metric label");
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn many_keys_and_large_values_fit_into_memory() {
    let (_site, mut server) = primed().await;
    let mut event = track(&fresh_id(), "user-1", "Signed Up");
    for n in 0..10_000 {
        event["properties"][format!("key {n}")] = json!(n);
    }
    let id = event["messageId"].as_str().expect("it has one").to_owned();
    assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    let planned = server.planned_one("web", &id).await;
    assert!(planned.actions[0].payload_json.len() > 100_000);
    // Doubled keys without end: the last one counts.
    let doubled: String = (0..10_000).map(|n| format!("\"event\":\"E{n}\",")).collect();
    let id = fresh_id();
    let body = format!("{{{doubled}\"type\":\"track\",\"messageId\":\"{id}\"}}");
    assert_eq!(server.post("web", body).await.counts(), (1, 0));
    let event = server.planned_one("web", &id).await.event.expect("a summary");
    assert_eq!(event.event_type, "track/E9999");
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn slow_and_half_sent_requests_harm_nobody() {
    let (_site, mut server) = primed().await;
    let text = body();
    let signature = sign(SECRET.as_bytes(), text.as_bytes());
    let bytes = webhook("web").header("X-Signature", &signature).body(text.as_bytes()).bytes();
    // Half-sent and left open, in the head and in the body.
    let mut open = Vec::new();
    for at in [1, 10, 60, bytes.len() - text.len(), bytes.len() - 1] {
        let mut connection = Connection::open(server.http).await.expect("connected");
        connection.send(&bytes[..at]).await.expect("sent");
        open.push((at, connection));
    }
    // Half-sent and hung up.
    for at in [1, bytes.len() - 1] {
        let mut connection = Connection::open(server.http).await.expect("connected");
        connection.send(&bytes[..at]).await.expect("sent");
    }
    // Nobody waits for them.
    assert_eq!(server.post("web", body()).await.counts(), (1, 0));
    assert_eq!(server.events("web").await.len(), 2, "nothing half-sent was stored");
    // Byte by byte is slow, and right.
    let mut connection = Connection::open(server.http).await.expect("connected");
    for chunk in bytes.chunks(16) {
        connection.send(chunk).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(connection.reply().await.expect("answered").counts(), (1, 0));
    // The rest comes at last: a duplicate by now.
    let (at, mut late) = open.pop().expect("one is open");
    late.send(&bytes[at..]).await.expect("sent");
    assert_eq!(soon("the answer", late.reply()).await.expect("answered").counts(), (0, 1));
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let (_site, mut server) = primed().await;
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\n", target("web"));
    for (name, bytes) in [
        ("noise", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned()),
        ("two lengths", format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        (
            "length and chunks",
            format!("{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("a negative length", format!("{head}Content-Length: -1\r\n\r\n")),
        ("a bad chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        ("a header of 1 MiB", format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20))),
    ] {
        let mut connection = Connection::open(server.http).await.expect("connected");
        _ = connection.send(bytes.as_bytes()).await;
        // Refused with an answer, or hung up on.
        let reply = soon(name, connection.reply()).await;
        let status = reply.map(|reply| reply.status);
        assert!(!matches!(status, Ok(200..400)), "{name}: {status:?}");
    }
    assert_eq!(server.events("web").await.len(), 1);
    server.assert_healthy(ROOM).await;
}

#[tokio::test]
async fn a_sender_that_closes_after_each_request_is_served() {
    let (_site, server) = primed().await;
    let text = body();
    let signature = sign(SECRET.as_bytes(), text.as_bytes());
    let request = Request::bare("POST", &target("web"))
        .header("Host", "x")
        .header("Connection", "close")
        .header("X-Signature", &signature)
        .header("Content-Length", &text.len().to_string())
        .body(text);
    let mut connection = Connection::open(server.http).await.expect("connected");
    assert_eq!(connection.call(&request).await.expect("answered").counts(), (1, 0));
    assert!(soon("the end", connection.closed()).await.expect("closed"));
}
