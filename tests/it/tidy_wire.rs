//! The pieces that the generators and endpoints of the benchmarks are made of.

use segment_source_tests::{
    sign::sign,
    template::{EVENT, RUN, Template, USER},
    wire::{Message, status},
};

/// The body of the message that this begins with, how long the message is, and whether it is the last.
fn read(bytes: &str) -> Option<(String, usize, bool)> {
    let message = Message::whole(bytes.as_bytes()).expect("it can be read")?;
    let body = String::from_utf8(message.body_of(bytes.as_bytes()).into_owned());
    Some((body.expect("UTF-8"), message.end, message.closes))
}

#[test]
fn messages_end_where_they_say() {
    let check = |bytes: &str, expected: Option<(&str, usize, bool)>| {
        let expected = expected.map(|(body, end, closes)| (body.to_owned(), end, closes));
        assert_eq!(read(bytes), expected, "{bytes}");
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    let head = |fields: &str| format!("{ok}{fields}\r\n\r\n");
    check(ok, None);
    check(&head("Content-Length: 2"), None);
    check(&(head("Content-Length: 2") + "hi"), Some(("hi", 40, false)));
    check(&(head("CONTENT-LENGTH:2\r\nConnection: close") + "hiHTTP"), Some(("hi", 58, true)));
    let chunked = head("transfer-encoding: chunked");
    check(&(chunked.clone() + "3\r\nabc\r\n"), None);
    check(
        &(chunked + "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"),
        Some(("abc0123456789", 79, false)),
    );
    check("HTTP/1.1 204 No Content\r\n\r\n", Some(("", 27, false)));
    assert!(Message::whole(head("Server: x").as_bytes()).is_err());
    assert_eq!(status(b"HTTP/1.1 503 No"), Some(503));
    assert_eq!(status(b"POST / HTTP/1.1"), None);
}

#[test]
fn templates_are_signed_events() {
    let body = format!(r#"{{"id":"{RUN}-{EVENT}","user":"{USER}","again":"{EVENT}"}}"#);
    let mut template = Template::new("/hook", "secret", &body).expect("a template");
    template.fill(0xabc, 17, 4242);
    let event = r#"{"id":"0000000000000abc-0000000000000011","user":"00004242","again":"0000000000000011"}"#;
    assert_eq!(String::from_utf8_lossy(template.event()), event);
    let signature = template.signature();
    let request = String::from_utf8_lossy(template.signed(&signature)).into_owned();
    let right = sign(b"secret", event.as_bytes());
    let expected = format!(
        "POST /hook HTTP/1.1\r\nuser-agent: Segment (Actions)\r\nx-signature: {right}\r\n\
         content-type: application/json\r\nAccept: */*\r\nContent-Length: {}\r\nHost: localhost\r\n\r\n{event}",
        event.len()
    );
    assert_eq!(request, expected);
}
