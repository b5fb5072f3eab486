//! The judge of Knock requests itself: it takes what Knock takes, and a request with any one thing
//! wrong it does not.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use segment_source_tests::knock::{Contract, Taken};
use serde_json::{Value, json};

/// Operation, method, target and body of a right request, and its tier.
fn right() -> Vec<(&'static str, Method, &'static str, Value, u64)> {
    let user = json!({"name": "Ada", "email": "ada@example.com", "plan": {"seats": 3}});
    let recipients = json!({"recipients": ["u1", {"collection": "teams", "id": "t1"}]});
    let mut subscribe = recipients.clone();
    subscribe["properties"] = json!({"role": "owner"});
    let members = json!({"members": [{"user": {"id": "u1"}, "tenant": "t1"}]});
    let trigger = json!({
        "recipients": ["u1", {"id": "u2", "name": "Bo"}], "data": {"a": 1}, "actor": "u3",
        "tenant": "t1", "cancellation_key": "k",
    });
    let cancel = json!({"cancellation_key": "k", "recipients": ["u1"]});
    let none = Value::Null;
    vec![
        ("identifyUser", Method::PUT, "/v1/users/u%201", user, 3),
        ("deleteUser", Method::DELETE, "/v1/users/u1", none.clone(), 2),
        ("setObject", Method::PUT, "/v1/objects/teams/t1", json!({"name": "T"}), 3),
        ("deleteObject", Method::DELETE, "/v1/objects/teams/t1", none.clone(), 3),
        ("setTenant", Method::PUT, "/v1/tenants/t1", json!({"name": "T", "settings": {}}), 3),
        ("deleteTenant", Method::DELETE, "/v1/tenants/t1", none, 2),
        (
            "addSubscriptionsForObject",
            Method::POST,
            "/v1/objects/teams/t1/subscriptions",
            subscribe,
            3,
        ),
        (
            "deleteSubscriptionsForObject",
            Method::DELETE,
            "/v1/objects/teams/t1/subscriptions",
            recipients,
            3,
        ),
        (
            "addAudienceMembers",
            Method::POST,
            "/v1/audiences/vip/members?create_audience=true",
            members.clone(),
            3,
        ),
        ("removeAudienceMembers", Method::DELETE, "/v1/audiences/vip/members", members, 3),
        ("triggerWorkflow", Method::POST, "/v1/workflows/welcome/trigger", trigger, 5),
        ("cancelWorkflow (2)", Method::POST, "/v1/workflows/welcome/cancel", cancel, 5),
    ]
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer not-a-real-key"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers
}

fn judge(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &Value,
) -> Result<Taken, String> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Contract::read().judge(method, target, headers, &bytes)
}

#[test]
fn what_knock_takes_is_taken() {
    for (operation, method, target, body, tier) in right() {
        let taken = judge(&method, target, &headers(), &body).expect(operation);
        assert_eq!((taken.operation.as_str(), taken.tier), (operation, tier));
        assert_eq!(taken.body, body, "{operation}");
    }
    let taken = judge(&Method::PUT, "/v1/users/u%201", &headers(), &json!({})).expect("taken");
    assert_eq!(taken.ids["user_id"], "u 1");
}

/// Every right request, with one thing wrong after the other.
#[test]
fn what_knock_refuses_is_refused() {
    for (operation, method, target, body, _) in right() {
        let refused =
            |what: &str, method: &Method, target: &str, headers: &HeaderMap, body: &Value| {
                let judged = judge(method, target, headers, body);
                assert!(judged.is_err(), "{operation}, {what}: {judged:?}");
            };
        let without = |name: HeaderName| {
            let mut headers = headers();
            headers.remove(name);
            headers
        };
        refused("no key", &method, target, &without(http::header::AUTHORIZATION), &body);
        refused("another method", &Method::PATCH, target, &headers(), &body);
        refused("another version", &method, &target.replace("/v1", "/v2"), &headers(), &body);
        refused("another query", &method, &format!("{}?x=true", path(target)), &headers(), &body);
        let (front, rest) = path(target).split_at("/v1/".len());
        let end = rest.find('/').unwrap_or(rest.len());
        let (kind, behind) = rest.split_at(end);
        let slash = format!(
            "{front}{kind}/a%2Fb{}",
            &behind[1..].find('/').map_or("", |at| &behind[1 + at..])
        );
        refused("an id with a slash", &method, &slash, &headers(), &body);
        if body.is_null() {
            refused("a body", &method, target, &headers(), &json!({}));
            continue;
        }
        refused("no body", &method, target, &headers(), &Value::Null);
        refused("a list", &method, target, &headers(), &json!([body]));
        refused("no type", &method, target, &without(http::header::CONTENT_TYPE), &body);
        for (field, value) in wrong(operation) {
            let mut other = body.clone();
            match value {
                Some(value) => other[field] = value,
                None => drop(other.as_object_mut().expect("an object").remove(field)),
            }
            refused(field, &method, target, &headers(), &other);
        }
    }
    let mut long = headers();
    long.insert("idempotency-key", HeaderValue::from_str(&"k".repeat(256)).expect("a value"));
    let body = json!({"recipients": ["u1"]});
    assert!(judge(&Method::POST, "/v1/workflows/w/trigger", &long, &body).is_err());
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// Values of a field that make the body wrong; none: the field is missing.
fn wrong(operation: &str) -> Vec<(&'static str, Option<Value>)> {
    let many = |count: usize| {
        let all = (0..count).map(|n| json!(format!("u{n}")));
        Some(Value::Array(all.collect()))
    };
    let members = |count: usize| {
        let all = (0..count).map(|n| json!({"user": {"id": format!("u{n}")}}));
        Some(Value::Array(all.collect()))
    };
    match operation {
        "identifyUser" => vec![
            ("name", Some(json!(7))),
            ("email", Some(json!({}))),
            ("channel_data", Some(json!("x"))),
            ("big", Some(json!("x".repeat(256_001)))),
        ],
        "setObject" => vec![("name", Some(json!(7))), ("channel_data", Some(json!(7)))],
        "setTenant" => vec![("settings", Some(json!("x")))],
        "addSubscriptionsForObject" => vec![
            ("recipients", None),
            ("recipients", Some(json!("u1"))),
            ("recipients", Some(json!([7]))),
            ("recipients", many(0)),
            ("recipients", many(101)),
            ("properties", Some(json!("x"))),
        ],
        "deleteSubscriptionsForObject" => vec![
            ("recipients", None),
            ("recipients", Some(json!([{"name": "no id"}]))),
            ("recipients", many(101)),
        ],
        "addAudienceMembers" | "removeAudienceMembers" => vec![
            ("members", None),
            ("members", Some(json!(["u1"]))),
            ("members", Some(json!([{"user": "u1"}]))),
            ("members", members(0)),
            ("members", members(1_001)),
        ],
        "triggerWorkflow" => vec![
            ("recipients", None),
            ("recipients", Some(json!("u1"))),
            ("recipients", Some(json!([7]))),
            ("recipients", many(1_001)),
            ("data", Some(json!("x"))),
            ("cancellation_key", Some(json!(7))),
        ],
        "cancelWorkflow (2)" => {
            vec![("cancellation_key", None), ("cancellation_key", Some(json!(7)))]
        }
        other => panic!("what can be wrong with {other}?"),
    }
}
