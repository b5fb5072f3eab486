//! The table of answers, each row caused for real over a socket, in the order in which the edge
//! checks. What heals only with a broken surrounding is in `edge_unavailable`.

use segment_source_tests::{
    http::{Connection, Request, call},
    manifest::{secret, signing_secret, source, welcome_mapping},
    server::{Server, target, webhook},
    sign::{SECRET, batch, fresh_id, sign, track},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::json;

fn event() -> String {
    track(&fresh_id(), "user-1", "Signed Up").to_string()
}

async fn web() -> (Site, Server) {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let server = site.start().await;
    (site, server)
}

#[tokio::test]
async fn durable_and_repeated_events_are_202() {
    let (_site, server) = web().await;
    let body = event();
    let reply = server.post("web", &body).await;
    assert_eq!(reply.text(), r#"{"accepted":1,"duplicate":0}"#);
    assert_eq!(reply.status, 202);
    assert_eq!(server.post("web", &body).await.text(), r#"{"accepted":0,"duplicate":1}"#);
    for method in ["PUT", "PATCH"] {
        let body = event();
        let signature = sign(SECRET.as_bytes(), body.as_bytes());
        let request = Request::new(method, &target("web")).header("x-signature", &signature);
        assert_eq!(call(server.http, &request.body(body)).await.counts(), (1, 0), "{method}");
    }
}

#[tokio::test]
async fn a_mismatch_is_503_until_the_secret_has_verified_something_and_401_afterwards() {
    let (_site, server) = web().await;
    let wrong = sign(b"another secret", event().as_bytes());
    server.post_signed("web", event().as_bytes(), &wrong).await.assert_heals();
    server.post_unsigned("web", event().as_bytes()).await.assert_heals();
    assert_eq!(server.post("web", event()).await.counts(), (1, 0));
    assert_eq!(server.post_signed("web", event().as_bytes(), &wrong).await.status, 401);
    assert_eq!(server.post_unsigned("web", event().as_bytes()).await.status, 401);
    assert_eq!(server.events("web").await.len(), 1);
}

#[tokio::test]
async fn a_mismatch_is_401_after_the_rotation_grace() {
    let site = Site::with_web(json!({"verification": {"rotationGrace": "1s"}}));
    let server = site.start().await;
    server.post_signed("web", event().as_bytes(), &"0".repeat(40)).await.assert_heals();
    eventually("the grace ends", || async {
        let reply = server.post_signed("web", event().as_bytes(), &"0".repeat(40)).await;
        (reply.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_source_that_never_was_is_404() {
    let (_site, server) = web().await;
    for source in ["other", "web-2"] {
        assert_eq!(server.post(source, event()).await.status, 404, "{source}");
    }
    for path in ["/v1/sources/other/web", "/v1/sources/test", "/v1/sources/test/web/more", "/"] {
        let request = Request::new("POST", path).body(event());
        assert_eq!(call(server.http, &request).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_ever_redirected() {
    let (_site, server) = web().await;
    for path in ["/v1/sources/test/web/", "//v1/sources/test/web", "/v1//sources/test/web"] {
        let body = event();
        let signature = sign(SECRET.as_bytes(), body.as_bytes());
        let request = Request::new("POST", path).header("X-Signature", &signature).body(body);
        let reply = call(server.http, &request).await;
        assert!(!(300..400).contains(&reply.status), "{path}: {}", reply.status);
    }
}

#[tokio::test]
async fn a_source_removed_a_moment_ago_is_503() {
    let (site, server) = web().await;
    assert_eq!(server.post("web", event()).await.counts(), (1, 0));
    site.remove("web.yaml");
    let reply = eventually("the removal applies", || async {
        let reply = server.post("web", event()).await;
        (reply.status != 202).then_some(reply)
    })
    .await;
    reply.assert_heals();
    // And it is back as soon as its manifest is.
    site.write("web.yaml", &[source("web", json!({}))]);
    eventually("it is back", || async {
        (server.post("web", event()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_source_whose_manifest_is_bad_from_the_start_is_503() {
    let site = Site::with_web(json!({}));
    site.write("bad.yaml", &[source("bad", json!({"eventTypePath": "body..x"}))]);
    let server = site.start().await;
    server.post("bad", event()).await.assert_heals();
    assert_eq!(server.post("web", event()).await.counts(), (1, 0), "one does not touch another");
}

#[tokio::test]
async fn other_methods_are_405() {
    let (_site, server) = web().await;
    for method in ["GET", "DELETE", "OPTIONS", "TRACE", "SEGMENT"] {
        let reply = call(server.http, &Request::new(method, &target("web"))).await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.header("allow").is_some_and(|allow| allow.contains("POST")), "{method}");
    }
    // Checked before the source: what never works does not depend on configuration.
    assert_eq!(call(server.http, &Request::new("GET", &target("other"))).await.status, 405);
}

#[tokio::test]
async fn encoded_bodies_are_415() {
    let (_site, server) = web().await;
    for encoding in ["gzip", "br", "deflate", "gzip, identity", "x-unknown"] {
        let body = event();
        let signature = sign(SECRET.as_bytes(), body.as_bytes());
        let request = webhook("web").header("Content-Encoding", encoding);
        let reply = call(server.http, &request.header("X-Signature", &signature).body(body)).await;
        assert_eq!(reply.status, 415, "{encoding}");
    }
    let body = event();
    let signature = sign(SECRET.as_bytes(), body.as_bytes());
    let request = webhook("web").header("Content-Encoding", "identity");
    let reply = call(server.http, &request.header("X-Signature", &signature).body(body)).await;
    assert_eq!(reply.counts(), (1, 0));
}

#[tokio::test]
async fn too_large_bodies_are_413_with_a_length_and_without() {
    let (_site, mut server) = web().await;
    // By the announced length, before a byte of the body is sent.
    let mut connection = Connection::open(server.http).await.expect("connected");
    let announced = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        target("web"),
        17 << 20
    );
    connection.send(announced.as_bytes()).await.expect("sent");
    let reply = soon("the answer", connection.reply()).await.expect("answered");
    assert_eq!(reply.status, 413);
    // By what really comes.
    let mut connection = Connection::open(server.http).await.expect("connected");
    let start =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", target("web"));
    connection.send(start.as_bytes()).await.expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..(17 << 20) / 0x10000 {
        // It may hang up once it has answered.
        if connection.send(&chunk).await.is_err() {
            break;
        }
    }
    _ = connection.send(b"0\r\n\r\n").await;
    let reply = soon("the answer", connection.reply()).await.expect("answered");
    assert_eq!(reply.status, 413);
    server.assert_healthy(300 << 20).await;
}

#[tokio::test]
async fn a_body_of_16_mib_is_taken() {
    let (_site, server) = web().await;
    let mut event = track(&fresh_id(), "user-1", "Signed Up");
    event["properties"]["filler"] = json!("");
    let room = (16 << 20) - event.to_string().len();
    event["properties"]["filler"] = json!("x".repeat(room));
    let body = event.to_string();
    assert_eq!(body.len(), 16 << 20);
    assert_eq!(server.post("web", &body).await.counts(), (1, 0));
    let id = event["messageId"].as_str().expect("it has one").to_owned();
    assert_eq!(server.planned_one("web", &id).await.actions.len(), 1);
}

#[tokio::test]
async fn over_the_rate_limit_is_429() {
    let site = Site::with_web(json!({"rateLimit": {"eventsPerSecond": 1, "burst": 2}}));
    let server = site.start().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let reply = server.post("web", event()).await;
        if reply.status == 429 {
            reply.assert_retry_after();
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses[..2], [202, 202]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let accepted = statuses.iter().filter(|&&status| status == 202).count();
    assert_eq!(server.events("web").await.len(), accepted, "what was answered 429 is not stored");
}

#[tokio::test]
async fn a_signing_secret_that_is_missing_is_503() {
    let site = Site::new();
    site.write("web.yaml", &[source("web", json!({}))]);
    let server = site.start().await;
    server.post("web", event()).await.assert_heals();
    server.post_unsigned("web", event().as_bytes()).await.assert_heals();
    site.write("secret.yaml", &[signing_secret()]);
    eventually("the secret is taken", || async {
        (server.post("web", event()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_empty_secret_verifies_nothing() {
    let site = Site::new();
    site.write("all.yaml", &[secret("segment", "signing-secret", ""), source("web", json!({}))]);
    let server = site.start().await;
    let body = event();
    let signature = sign(b"", body.as_bytes());
    server.post_signed("web", body.as_bytes(), &signature).await.assert_heals();
    assert_eq!(server.events("web").await.len(), 0);
}

#[tokio::test]
async fn a_source_with_suspended_intake_is_503() {
    let site = Site::with_web(json!({"suspend": "Intake"}));
    let server = site.start().await;
    server.post("web", event()).await.assert_heals();
    site.write("web.yaml", &[source("web", json!({"suspend": "Delivery"}))]);
    eventually("intake goes on", || async {
        (server.post("web", event()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_array_against_policy_is_503_before_its_signature_is_looked_at() {
    let (_site, server) = web().await;
    assert_eq!(server.post("web", event()).await.counts(), (1, 0));
    let (body, signature) =
        batch(SECRET.as_bytes(), &[track("a", "u", "Signed Up"), track("b", "u", "Signed Up")]);
    server.post_signed("web", &body, &signature).await.assert_heals();
    server.post_signed("web", &body, &"0".repeat(40)).await.assert_heals();
    // A missing signature comes first.
    assert_eq!(server.post_unsigned("web", &body).await.status, 401);
    // Space before the bracket is an array too.
    let body = [b" \r\n\t".as_slice(), &body].concat();
    server.post("web", &body).await.assert_heals();
}

#[tokio::test]
async fn checks_come_in_the_documented_order() {
    let (_site, server) = web().await;
    let get = async |request: Request| call(server.http, &request).await;
    let gzip = ("Content-Encoding", "gzip");
    // 405 before 415 before 413 before 404.
    let request = Request::new("GET", &target("other")).header(gzip.0, gzip.1);
    assert_eq!(get(request).await.status, 405);
    let large = (17 << 20).to_string();
    let head = Request::bare("POST", &target("other")).header("Host", "x");
    let request = head.clone().header(gzip.0, gzip.1).header("Content-Length", &large);
    assert_eq!(get(request).await.status, 415);
    assert_eq!(get(head.header("Content-Length", &large)).await.status, 413);
    let request = Request::new("POST", &target("other")).body("[]");
    assert_eq!(get(request).await.status, 404);
}
