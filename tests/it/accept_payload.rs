//! What the event said is what the consumer gets: numbers as text, odd strings, last key wins,
//! headers, redaction, preprocess, failures with their reason.

use std::time::Duration;

use segment_source_proto::admin::v1::{GetEventResponse, Outcome};
use segment_source_tests::{
    http::call,
    server::webhook,
    sign::{SECRET, fresh_id, sign},
    site::Site,
};
use serde_json::{Value, json};

/// Sends one event, given as text, to a source with these mappings; reads it back.
async fn accept(spec: Value, body: &str) -> (String, GetEventResponse) {
    let site = Site::with_web(spec);
    let server = site.start().await;
    let signature = sign(SECRET.as_bytes(), body.as_bytes());
    let request = webhook("web")
        .header("X-Signature", &signature)
        .header("Authorization", "Bearer not-a-real-token")
        .header("Cookie", "session=not-real")
        .header("X-Plan", "gold");
    assert_eq!(call(server.http, &request.body(body)).await.counts(), (1, 0));
    let entry = segment_source_tests::wait::eventually("it is planned", || async {
        let newest = server.events("web").await.remove(0);
        (newest.outcome() != Outcome::Waiting).then_some(newest)
    })
    .await;
    let event = server.event(&entry.event_id).await;
    let payload = event.actions.first().map(|action| action.payload_json.clone());
    let taken = server.pull("web", 10, Duration::ZERO).await;
    if let Some(delivery) = taken.first() {
        assert_eq!(Some(&delivery.payload_json), payload.as_ref(), "log and queue agree");
    }
    (String::from_utf8(payload.unwrap_or_default().to_vec()).expect("UTF-8"), event)
}

fn trigger(data: Value) -> Value {
    json!({"mappings": [{
        "name": "m",
        "eventType": "track/E",
        "action": {"workflowsTrigger": {
            "workflow": "w", "recipients": {"value": ["user-1"]}, "data": data,
        }},
    }]})
}

#[tokio::test]
async fn numbers_keep_their_text() {
    let numbers = "12345678901234567890123,9007199254740993,1e+21,1E5,1.0,-0,0.10,1e-7,3.141592653589793238462643";
    let body = format!(r#"{{"type":"track","event":"E","properties":{{"n":[{numbers}]}}}}"#);
    let (payload, _) = accept(trigger(json!({"path": "body.properties"})), &body).await;
    assert!(payload.contains(&format!(r#""n":[{numbers}]"#)), "{payload}");
}

#[tokio::test]
async fn odd_strings_survive() {
    let body = concat!(
        r#"{"type":"track","event":"E","properties":{"nul":"a\u0000b","high":"\ud83d","#,
        r#""low":"x\ude00y","pair":"\ud83d\ude00","del":"#,
        "\"\u{7f}\",\"sep\":\"a\u{2028}b\"}}"
    );
    let (payload, event) = accept(trigger(json!({"path": "body.properties"})), body).await;
    let value: Value = serde_json::from_str(&payload).expect("strict JSON");
    let expected = json!({
        "nul": "a\u{0}b", "high": "\u{fffd}", "low": "x\u{fffd}y", "pair": "😀",
        "del": "\u{7f}", "sep": "a\u{2028}b",
    });
    assert_eq!(value["data"], expected);
    assert_eq!(event.body, body.as_bytes(), "the raw bytes are kept");
}

#[tokio::test]
async fn the_last_of_doubled_keys_wins_everywhere() {
    let body = r#"{"type":"identify","type":"track","event":"X","event":"E","messageId":"a","messageId":"b","userId":"one","userId":"two","properties":{"k":1,"k":2}}"#;
    let (payload, event) = accept(trigger(json!({"path": "body.properties"})), body).await;
    assert!(payload.contains(r#""data":{"k":2}"#), "{payload}");
    let summary = event.event.expect("a summary");
    assert_eq!(
        (summary.event_type.as_str(), summary.key.as_str(), summary.order_key.as_str()),
        ("track/E", "b", "user:two")
    );
}

#[tokio::test]
async fn headers_can_be_mapped_and_secret_ones_are_gone() {
    let body = r#"{"type":"track","event":"E"}"#;
    let (payload, event) = accept(trigger(json!({"path": "headers"})), body).await;
    assert!(payload.contains(r#""x-plan":"gold""#), "{payload}");
    let names: Vec<&str> = event.headers.iter().map(|header| header.name.as_str()).collect();
    for secret in ["x-signature", "authorization", "cookie"] {
        assert!(!names.contains(&secret) && !payload.contains(secret), "{secret} is kept");
    }
}

#[tokio::test]
async fn redacted_values_are_nowhere() {
    let mut spec = trigger(json!({"path": "body.properties"}));
    spec["retention"] = json!({"redact": ["body.context.ip"]});
    let body = r#"{"type":"track","event":"E","context":{"ip":"203.0.113.7","locale":"en"},"properties":{"big":12345678901234567890}}"#;
    let (payload, event) = accept(spec, body).await;
    let stored = String::from_utf8(event.body.to_vec()).expect("UTF-8");
    assert!(!stored.contains("203.0.113.7"), "{stored}");
    assert!(stored.contains("12345678901234567890") && stored.contains("locale"), "{stored}");
    assert!(payload.contains("12345678901234567890"), "{payload}");
}

#[tokio::test]
async fn preprocess_and_expressions_compute() {
    let mut spec =
        trigger(json!({"expression": "{'plan': preprocess.plan, 'n': body.properties.n + 1}"}));
    spec["preprocess"] = json!([
        {"name": "plan", "expression": "headers['x-plan'] == 'gold' ? 'paid' : 'free'"},
        {"name": "broken", "expression": "body.nothing.here"},
    ]);
    spec["mappings"][0]["when"] = json!("preprocess.plan == 'paid'");
    let (payload, event) =
        accept(spec, r#"{"type":"track","event":"E","properties":{"n":1}}"#).await;
    let value: Value = serde_json::from_str(&payload).expect("JSON");
    assert_eq!(value["data"], json!({"plan": "paid", "n": 2}));
    assert!(event.notes.iter().any(|note| note.subject == "broken"), "{:?}", event.notes);
}

#[tokio::test]
async fn one_bad_action_does_not_stop_the_others() {
    let many: Vec<String> = (0..1001).map(|n| format!("user-{n}")).collect();
    let mapping = |name: &str, recipients: Value| {
        json!({"name": name, "eventType": "track/E", "action": {"workflowsTrigger": {
            "workflow": name, "recipients": recipients}}})
    };
    let spec = json!({"mappings": [
        mapping("crowd", json!({"path": "body.everyone"})),
        mapping("nobody", json!({"path": "body.nobody"})),
        mapping("fine", json!({"path": "body.userId"})),
        {"name": "other", "eventType": "track/E", "when": "body.properties.n > 1",
         "action": {"usersIdentify": {"id": {"path": "userId"}}}},
        {"name": "off", "eventType": "track/E", "disabled": true,
         "action": {"usersIdentify": {"id": {"path": "userId"}}}},
        {"name": "first", "eventType": "track/E", "destination": "default",
         "action": {"usersIdentify": {"id": {"path": "userId"}}}},
    ]});
    let body = json!({"type": "track", "event": "E", "messageId": fresh_id(),
                      "userId": "user-1", "everyone": many});
    let (_, event) = accept(spec, &body.to_string()).await;
    let got: Vec<(&str, &str)> = event
        .actions
        .iter()
        .map(|action| (action.mapping.as_str(), action.reason_code.as_str()))
        .collect();
    assert_eq!(got.len(), 4, "{got:?}");
    assert_eq!(got[0], ("first", ""), "users are identified before workflows are triggered");
    assert_eq!((got[1].0, got[2].0, got[3]), ("crowd", "nobody", ("fine", "")));
    assert!(!got[1].1.is_empty() && got[2].1 == "missing_field", "{got:?}");
    let nobody = &event.actions[2];
    assert!(nobody.reason.contains("recipients"), "the field is named: {}", nobody.reason);
    assert!(event.notes.iter().any(|note| note.subject == "other"), "{:?}", event.notes);
    assert_eq!(event.event.expect("a summary").outcome(), Outcome::Failed);
}
