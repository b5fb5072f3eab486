//! From what Segment's own clients sent to what Knock is asked: captured requests go in at the edge,
//! and whole requests come out, for all twelve actions.

use std::collections::{BTreeMap, BTreeSet};

use segment_source_proto::admin::v1::Outcome;
use segment_source_tests::{
    capture::{captures, fixture},
    http::call,
    knock::{KEY, Knock, spec},
    manifest::{secret, source},
    server::target,
    sink::Asked,
    site::Site,
    wait::eventually,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flow {
    mappings: Value,
    requests: BTreeMap<String, Vec<Wanted>>,
}

/// A request that Knock should see.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Method and target.
    request: String,
    #[serde(default)]
    body: Option<String>,
}

/// Compares everything that a request has.
#[track_caller]
fn check(what: &str, asked: &Asked, wanted: &Wanted, host: &str, idempotency_key: &str) {
    assert_eq!(format!("{} {}", asked.method, asked.target), wanted.request, "{what}");
    let body = String::from_utf8(asked.body.clone()).expect("UTF-8");
    assert_eq!(body, wanted.body.clone().unwrap_or_default(), "{what}: {}", wanted.request);
    let agent = concat!("segment-source/", env!("CARGO_PKG_VERSION"));
    let bearer = format!("Bearer {KEY}");
    let length = body.len().to_string();
    let mut headers = BTreeMap::from([
        ("accept", "*/*"),
        ("authorization", &bearer),
        ("host", host),
        ("user-agent", agent),
    ]);
    if wanted.body.is_some() {
        headers.extend([("content-type", "application/json"), ("content-length", &*length)]);
    }
    if wanted.request.ends_with("/trigger") {
        headers.insert("idempotency-key", idempotency_key);
    }
    let found: BTreeMap<_, _> =
        asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, headers, "{what}: {}", wanted.request);
}

#[tokio::test]
async fn captured_requests_become_calls_of_all_twelve_actions() {
    let Flow { mappings, requests } = fixture("knock/flow.yaml");
    let (captures, _) = captures();
    let knock = Knock::start().await;
    let site = Site::new();
    let signing = captures["01-track"].secret.clone().expect("it is signed");
    let mut spec = spec(&knock, mappings);
    spec["verification"] = json!({"secretRefs": [{"name": "captures", "key": "signing"}]});
    site.write(
        "secrets.yaml",
        &[secret("captures", "signing", &signing), secret("knock", "api-key", KEY)],
    );
    site.write("web.yaml", &[source("web", spec)]);
    let server = site.launch().flag("allow-destination", "127.0.0.1/32").start().await;
    let host = knock.address.to_string();
    let (mut seen, mut actions) = (0, BTreeSet::new());
    for (name, wanted) in &requests {
        let reply = call(server.http, &captures[name].request(&target("web"))).await;
        assert_eq!(reply.counts(), (1, 0), "{name}");
        let delivered = || async {
            let newest = server.events("web").await.remove(0);
            assert_ne!(newest.outcome(), Outcome::Failed, "{name}: {newest:?}");
            (newest.outcome() == Outcome::Delivered).then_some(newest.event_id)
        };
        let event = eventually(&format!("{name} is delivered"), delivered).await;
        let event = server.event(&event).await;
        let asked = knock.asked().split_off(seen);
        assert_eq!(asked.len(), wanted.len(), "{name}: {asked:#?}");
        for ((asked, wanted), action) in asked.iter().zip(wanted).zip(&event.actions) {
            check(name, asked, wanted, &host, &action.idempotency_key);
            assert_eq!((&*action.destination, action.attempts), ("knock", 1), "{name}");
            actions.insert(action.action_type.clone());
        }
        seen += wanted.len();
    }
    assert_eq!(actions.len(), 12, "{actions:?}");
    // Captured again, they are repeats, and nobody is asked again.
    for name in requests.keys() {
        let reply = call(server.http, &captures[name].request(&target("web"))).await;
        assert_eq!(reply.counts(), (0, 1), "{name}");
    }
    assert_eq!(knock.asked().len(), seen);
    assert!(!server.log().contains(KEY), "the API key is in the log");
}
