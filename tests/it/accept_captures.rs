//! Every recorded request of Segment's own clients, byte for byte, to a fresh source under each
//! batch policy: the answer, and what is read back, are those of `fixtures/expected.yaml`.

use std::collections::BTreeMap;

use segment_source_proto::admin::v1::{GetEventResponse, Outcome, action::State};
use segment_source_proto::event::v1::Verdict;
use segment_source_tests::{
    capture::{
        Capture, Expected, ExpectedAction, ExpectedEvent, capture_spec, captures, expected,
        sdk_events,
    },
    http::call,
    manifest::{identify_mapping, secret, source},
    server::{Server, target, webhook},
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

/// The header that capture 13 carries and that the others get where the source demands it.
const TOKEN: (&str, &str) = ("x-ingest-token", "not-a-real-token");

#[tokio::test]
async fn every_capture_has_its_answer_under_every_policy() {
    let (captures, _) = captures();
    let expected = expected();
    let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(captures.keys().collect()),
        names(expected.keys().collect()),
        "every capture is in the table"
    );
    for policy in ["reject", "whole_body", "first_element", "observe"] {
        let site = Site::new();
        site.write("token.yaml", &[secret("token", "key", TOKEN.1)]);
        for (name, capture) in &captures {
            let secret_name = format!("secret-{name}");
            let value = capture.secret.as_deref().unwrap_or("not-a-real-secret-of-the-receiver");
            let manifests =
                [secret(&secret_name, "key", value), source(name, spec(policy, &secret_name))];
            site.write(&format!("{name}.yaml"), &manifests);
        }
        let server = site.start().await;
        for (name, capture) in &captures {
            check(&server, policy, name, capture, &expected[name][policy]).await;
        }
    }
}

/// Whether the policy's source demands the header.
fn asks_for_token(policy: &str) -> bool {
    matches!(policy, "first_element" | "observe")
}

fn spec(policy: &str, secret_name: &str) -> Value {
    let header = json!({"name": TOKEN.0, "secretRef": {"name": "token", "key": "key"}});
    let first = json!({"policy": "FirstElement", "requireHeader": header});
    let mut verification = json!({"secretRefs": [{"name": secret_name, "key": "key"}]});
    match policy {
        "reject" => {}
        "whole_body" => verification["batches"] = json!({"policy": "WholeBody"}),
        "first_element" => verification["batches"] = first,
        "observe" => {
            verification["batches"] = first;
            verification["mode"] = json!("Observe");
        }
        other => panic!("no policy: {other}"),
    }
    let mut spec = capture_spec();
    spec["verification"] = verification;
    spec
}

async fn check(server: &Server, policy: &str, name: &str, capture: &Capture, expected: &Expected) {
    let what = format!("{name} under {policy}");
    let key = capture.secret.as_deref().unwrap_or("not-a-real-secret-of-the-receiver");
    let mut prime = None;
    if expected.status == 401 {
        let id = fresh_id();
        let body = track(&id, "primer", "Primer").to_string();
        let signature = sign(key.as_bytes(), body.as_bytes());
        let reply = server.post_signed(name, body.as_bytes(), &signature).await;
        assert_eq!(reply.counts(), (1, 0), "{what}: priming");
        prime = Some(id);
    }
    let mut request = capture.request(&target(name));
    let has_token = capture.request.headers.iter().any(|(header, _)| header == TOKEN.0);
    if asks_for_token(policy) && !has_token {
        request = request.header(TOKEN.0, TOKEN.1);
    }
    let reply = call(server.http, &request).await;
    assert_eq!(reply.status, expected.status, "{what}: {}", reply.text());
    let count = expected.events.len();
    if expected.status == 202 {
        assert_eq!(reply.counts(), (count as u64, 0), "{what}");
    }
    if expected.status == 503 {
        reply.assert_heals();
    }
    let entries = eventually(&format!("{what}: its events are planned"), || async {
        let mut entries = server.events(name).await;
        entries.retain(|entry| prime.as_ref() != Some(&entry.key));
        entries.reverse();
        let planned = entries.iter().all(|entry| entry.outcome() != Outcome::Waiting);
        planned.then_some(entries)
    })
    .await;
    assert_eq!(entries.len(), count, "{what}: {entries:#?}");
    for (index, (entry, expected)) in entries.iter().zip(&expected.events).enumerate() {
        let event = server.event(&entry.event_id).await;
        let what = format!("{what}, element {index}");
        check_event(&what, index, &event, expected);
        for header in &event.headers {
            let name = header.name.as_str();
            let is_secret = ["x-signature", "authorization", "cookie"].contains(&name)
                || name == TOKEN.0 && asks_for_token(policy);
            assert!(!is_secret, "{what}: {name} is kept");
        }
    }
    if count == 1 && !capture.request.body.starts_with('[') {
        let event = server.event(&entries[0].event_id).await;
        assert_eq!(event.body, capture.request.body.as_bytes(), "{what}: the raw bytes are kept");
    }
}

fn check_event(what: &str, index: usize, event: &GetEventResponse, expected: &ExpectedEvent) {
    let summary = event.event.as_ref().expect("an event has a summary");
    assert_eq!(
        (&summary.event_type, &summary.key, &summary.order_key, event.covered, event.element),
        (&expected.event_type, &expected.key, &expected.order, expected.covered, index as u32),
        "{what}"
    );
    let verdict = match expected.verdict.as_str() {
        "verified_body" => Verdict::VerifiedBody,
        "verified_first_element" => Verdict::VerifiedFirstElement,
        "observed_missing" => Verdict::ObservedMissing,
        "observed_mismatch" => Verdict::ObservedMismatch,
        other => panic!("{what}: the table has no verdict {other}"),
    };
    assert_eq!(event.verdict(), verdict, "{what}");
    assert_eq!(summary.unmappable.is_empty(), !expected.event_type.is_empty(), "{what}");
    let outcome = match &expected.actions[..] {
        _ if expected.event_type.is_empty() => Outcome::Unmappable,
        [] => Outcome::NoAction,
        actions if actions.iter().any(|action| action.failed.is_some()) => Outcome::Failed,
        _ => Outcome::Pending,
    };
    assert_eq!(summary.outcome(), outcome, "{what}");
    assert_eq!(event.actions.len(), expected.actions.len(), "{what}: {:#?}", event.actions);
    for (action, expected) in event.actions.iter().zip(&expected.actions) {
        assert_eq!(
            (&action.mapping, &action.action_type),
            (&expected.mapping, &expected.action),
            "{what}"
        );
        assert_eq!(action.reason_code, expected.failed.clone().unwrap_or_default(), "{what}");
        check_payload(what, &action.payload_json, expected);
    }
}

fn check_payload(what: &str, payload: &[u8], expected: &ExpectedAction) {
    if expected.failed.is_some() {
        assert!(payload.is_empty(), "{what}");
        return;
    }
    let text = std::str::from_utf8(payload).expect("a payload is UTF-8");
    let value: Value = serde_json::from_str(text).expect("a payload is strict JSON");
    if let Some(wanted) = &expected.payload {
        let wanted: Value = serde_json::from_str(wanted).expect("the table holds JSON");
        assert_eq!(value, wanted, "{what}");
    }
    for part in &expected.contains {
        assert!(text.contains(part.as_str()), "{what}: no {part} in {text}");
    }
}

#[tokio::test]
async fn what_the_libraries_send_to_segment_is_understood_too() {
    let (_, libraries) = captures();
    assert_eq!(libraries.len(), 2);
    let site = Site::with_web(json!({"mappings": [identify_mapping()]}));
    let server = site.start().await;
    let mut wanted = BTreeMap::new();
    for capture in libraries.values() {
        for text in sdk_events(capture) {
            let reply = server.post("web", &text).await;
            assert_eq!(reply.counts(), (1, 0), "{text}");
            let event: Value = serde_json::from_str(&text).expect("an event is JSON");
            let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let event_type = match field("type").as_str() {
                "track" => format!("track/{}", field("event")),
                other => other.to_owned(),
            };
            let order = match (field("userId").as_str(), field("anonymousId").as_str()) {
                ("", anonymous) => format!("anonymous:{anonymous}"),
                (user, _) => format!("user:{user}"),
            };
            wanted.insert(field("messageId"), (event_type, order));
        }
    }
    let events = server.events("web").await;
    let found: BTreeMap<_, _> =
        events.into_iter().map(|event| (event.key, (event.event_type, event.order_key))).collect();
    assert_eq!(found, wanted);
    assert_eq!(server.drain("web", 2).await.len(), 2, "one user of each library");
}

/// Captures 01, 09 and 11 carry the same signature: with it anyone can put what they like behind
/// the signed element. The second factor stops it, and what gets through is marked.
#[tokio::test]
async fn a_forged_tail_needs_the_second_factor_and_deletes_nobody() {
    let (captures, _) = captures();
    let first = &captures["01-track"];
    let (_, signature) =
        first.request.headers.iter().find(|(name, _)| name == "x-signature").expect("it is signed");
    let site = Site::new();
    let mut spec = spec("first_element", "signing");
    spec["mappings"] = json!([
        {"name": "leave", "eventType": "delete",
         "action": {"usersDelete": {"id": {"path": "body.userId"}}}},
        identify_mapping(),
    ]);
    let secret_value = first.secret.as_deref().expect("it has a secret");
    site.write(
        "all.yaml",
        &[
            secret("signing", "key", secret_value),
            secret("token", "key", TOKEN.1),
            source("web", spec),
        ],
    );
    let server = site.start().await;
    let genuine = &first.request.body;
    let reply = server.post_signed("web", genuine.as_bytes(), signature).await;
    assert_eq!(reply.counts(), (1, 0));
    // A genuine batch, after which a wrong header is final.
    let request = webhook("web").header("X-Signature", signature).header(TOKEN.0, TOKEN.1);
    let reply = call(server.http, &request.clone().body(format!("[{genuine}]"))).await;
    assert_eq!(reply.counts(), (0, 1));
    let delete = json!({"type": "delete", "userId": "victim", "messageId": "forged-1"});
    let identify = json!({"type": "identify", "userId": "victim", "messageId": "forged-2"});
    let forged = format!("[{genuine},{delete},{identify}]");
    // The attacker has the signature and not the header.
    let reply = server.post_signed("web", forged.as_bytes(), signature).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    let guessed = webhook("web").header("X-Signature", signature).header(TOKEN.0, "guessed");
    assert_eq!(call(server.http, &guessed.body(forged.as_bytes())).await.status, 401);
    assert_eq!(server.events("web").await.len(), 2, "nothing of it was stored");
    // Even with the header, an element that nobody signed deletes nobody.
    let request = request.body(forged.as_bytes());
    assert_eq!(call(server.http, &request).await.counts(), (2, 1));
    let delete = server.planned_one("web", "forged-1").await;
    assert!(!delete.covered);
    let [denied] = &delete.actions[..] else { panic!("{:#?}", delete.actions) };
    assert_eq!((denied.state(), denied.reason_code.as_str()), (State::Failed, "not_covered"));
    assert!(denied.payload_json.is_empty());
    let identify = server.planned_one("web", "forged-2").await;
    assert_eq!((identify.covered, identify.actions.len()), (false, 1));
    let given: Vec<String> =
        server.drain("web", 1).await.into_iter().map(|delivery| delivery.action_type).collect();
    assert_eq!(given, ["users_identify"], "no consumer is told to delete");
}

#[tokio::test]
async fn a_secret_file_that_ends_with_a_newline_still_verifies_nothing_else() {
    let site = Site::new();
    site.write(
        "all.yaml",
        &[secret("segment", "signing-secret", &format!("{SECRET}\n")), source("web", json!({}))],
    );
    let server = site.start().await;
    let body = track("m1", "u1", "E").to_string();
    // The newline is part of the secret as given: nothing is trimmed behind one's back, and the
    // metrics say what is wrong.
    let reply = server.post("web", &body).await;
    reply.assert_heals();
    let signature = sign(format!("{SECRET}\n").as_bytes(), body.as_bytes());
    assert_eq!(server.post_signed("web", body.as_bytes(), &signature).await.counts(), (1, 0));
}
