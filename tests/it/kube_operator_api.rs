//! An API server that goes, comes back, and has forgotten its history; and how little it is asked
//! while nothing happens.

use std::time::Duration;

use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::{broken_mapping, welcome_mapping},
    prober::Prober,
    site::Site,
    sources::Sources,
    wait::eventually,
};
use serde_json::json;

#[tokio::test]
async fn without_an_api_server_replicas_serve_on_and_edits_made_after_are_seen() {
    let Some(api) = ApiServer::start(Version::Newest).await else { return };
    let sources = Sources::new(&api, "away").await;
    sources.signing_secret().await;
    let spec = || json!({"mappings": [welcome_mapping()]});
    for name in ["web", "shop"] {
        sources.source(name, spec()).await;
    }
    let mut operator = sources.operator("one").flag("lease-duration", "3s").ready().await;
    let site = Site::new();
    let server = sources.replica(&site, &operator.config()).start().await;
    sources.until_ready("web").await;
    sources.until_ready("shop").await;
    let prober = Prober::start(server.http, &server.target("web"));

    // For longer than a Lease lasts.
    api.stop("kube-apiserver").await;
    let lost = |line: &str| line.contains("not leading any more");
    operator.logged("that it leads no more", lost).await;
    prober.more(5).await;
    api.start_again("kube-apiserver").await;
    operator.until_leading().await;
    sources.delete("shop").await;
    sources.source("blog", spec()).await;
    sources.source("web", json!({"mappings": []})).await;
    sources.until_ready("web").await;
    sources.until_ready("blog").await;
    let event = segment_source_tests::sign::track("known-1", "user-1", "Signed Up").to_string();
    assert_eq!(server.post("blog", &event).await.counts(), (1, 0));
    eventually("the deletion is known", || async {
        (server.post("shop", &event).await.status == 503).then_some(())
    })
    .await;
    prober.more(5).await;

    // What happens while it is stopped is older than what the API server remembers.
    operator.freeze();
    sources.delete("blog").await;
    for count in [1, 0, 1] {
        let mappings = vec![welcome_mapping(); count];
        sources.source("web", json!({"mappings": mappings})).await;
    }
    sources.source("late", spec()).await;
    api.compact().await;
    api.restart().await;
    operator.thaw();
    operator.until_leading().await;
    for name in ["web", "late"] {
        sources.until_ready(name).await;
    }
    assert_eq!(sources.get("web").await["status"]["observedGeneration"], 5);
    eventually("the deletion is known", || async {
        (server.post("blog", &event).await.status == 503).then_some(())
    })
    .await;
    sources.source("late", json!({"mappings": []})).await;
    sources.until_ready("late").await;
    prober.more(5).await;

    let sent = prober.stop().await;
    assert_eq!(sent.refused(), 0, "{sent:?}");
    // Of generation 2 .. 4 some came and went unseen.
    sources.until_events("late", &["Normal Accepted", "Normal Accepted"]).await;
    let told = sources.events("web").await;
    let mut notes: Vec<_> = told.iter().map(|it| &it.1).collect();
    let all = notes.len();
    notes.sort();
    notes.dedup();
    assert_eq!(notes.len(), all, "told twice: {told:?}");
    assert!(operator.exited().is_none() && !operator.log().contains("panicked"));
}

/// Everything that wrote something, Leases aside, as the API server counts it.
async fn writes(sources: &Sources<'_>) -> u64 {
    let page = http::Request::get("/metrics").body(Vec::new()).expect("a request");
    let page = sources.client.request_text(page).await.expect("the API server has metrics");
    let counted = page.lines().filter(|line| {
        let verb = |verb: &str| line.contains(&format!("verb=\"{verb}\""));
        line.starts_with("apiserver_request_total{")
            && ["POST", "PUT", "PATCH", "APPLY", "DELETE"].into_iter().any(verb)
            && ["segment-source.dev", "events.k8s.io", "apps"]
                .iter()
                .any(|group| line.contains(&format!("group=\"{group}\"")))
    });
    let secrets = page.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"secrets\"")
            && !["GET", "LIST", "WATCH"].iter().any(|it| line.contains(&format!("verb=\"{it}\"")))
    });
    let number = |line: &str| line.rsplit(' ').next().and_then(|it| it.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    counted.chain(secrets).filter_map(number).map(|it| it as u64).sum()
}

#[tokio::test]
async fn while_nothing_happens_nothing_is_written() {
    let Some(api) = ApiServer::start(Version::Newest).await else { return };
    let sources = Sources::new(&api, "steady").await;
    sources.signing_secret().await;
    for number in 0..5 {
        sources.source(&format!("web-{number}"), json!({})).await;
    }
    sources.source("bad", json!({"mappings": [broken_mapping()]})).await;
    let missing = json!({"verification": {"secretRefs": [{"name": "none", "key": "none"}]}});
    sources.source("missing", missing).await;
    let launch = |name: &str| sources.operator(name).flag("lease-duration", "3s");
    let (one, two) = (launch("one").ready().await, launch("two").ready().await);
    let leader = match sources.leader().await.0.as_str() {
        "one" => &one,
        _ => &two,
    };
    leader.until_leading().await;
    let site = Site::new();
    let server = sources.replica(&site, &leader.config()).start().await;
    for number in 0..5 {
        sources.until_ready(&format!("web-{number}")).await;
    }
    sources.until("bad", "Accepted=False/Invalid").await;
    sources.until("missing", "Programmed=True/Programmed").await;
    let prober = Prober::start(server.http, &server.target("web-0"));
    sources.until_events("bad", &["Warning Invalid"]).await;

    let before = writes(&sources).await;
    assert!(before > 10, "{before} writes are counted, so not all are");
    // The time is what is measured.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(writes(&sources).await, before);
    let (_, epoch) = sources.leader().await;
    // A replica that comes again is no news, either.
    drop(server);
    let server = sources.replica(&site, &leader.config()).start().await;
    eventually("it is connected", || async {
        (leader.metric("replicas{roles=\"edge+ingest\"}").await == 1.0
            && leader.metric("replica_lag_versions").await == 0.0)
            .then_some(())
    })
    .await;
    assert_eq!(writes(&sources).await, before);
    assert_eq!(sources.leader().await.1, epoch, "the Lease changed hands");
    drop((prober, server));
}
