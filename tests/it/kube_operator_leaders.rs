//! Two operators: one leads, the other takes over, and who leads no more neither writes nor serves,
//! whether it knows it or not.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    core::v1::{Secret, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::welcome_mapping,
    operator::Operator,
    prober::Prober,
    relay::Relay,
    site::Site,
    sources::Sources,
    wait::eventually,
    watcher::Watcher,
};
use serde_json::{Value, json};
use tonic::Code;

fn mappings(count: usize) -> Value {
    let named = |number| {
        let mut mapping = welcome_mapping();
        mapping["name"] = json!(format!("m{number}"));
        mapping
    };
    json!({"mappings": (0..count).map(named).collect::<Vec<_>>()})
}

/// What each of them would write differs, so that it shows who wrote.
fn url(name: &str) -> String {
    format!("https://{name}.example.com")
}

async fn urls(sources: &Sources<'_>) -> Vec<(Value, Value)> {
    let all = sources.all().list(&kube::api::ListParams::default()).await.expect("a list");
    let all = all.items.into_iter().map(|it| serde_json::to_value(it).expect("JSON"));
    all.map(|it| (it["status"]["url"].clone(), it["metadata"]["resourceVersion"].clone())).collect()
}

/// Waits until all sources are reported by this operator, for their newest generation.
async fn until_reported_by(sources: &Sources<'_>, name: &str, names: &[String]) {
    for source in names {
        let status =
            sources.until(source, "Accepted=True/Accepted Programmed=True/Programmed").await;
        if !status.0["url"].as_str().unwrap_or_default().starts_with(&url(name)) {
            eventually("the new leader reports", || async {
                let object = sources.get(source).await;
                let said = object["status"]["url"].as_str()?.starts_with(&url(name));
                said.then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_stopped_leader_is_followed_and_does_nothing_when_it_goes_on() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "stopped").await;
    sources.signing_secret().await;
    let names: Vec<String> = (0..20).map(|number| format!("web-{number}")).collect();
    for name in &names {
        sources.source(name, mappings(1)).await;
    }
    let launch = |name: &str| {
        sources.operator(name).flag("lease-duration", "3s").flag("public-url", &url(name))
    };
    let one = launch("one").ready().await;
    one.until_leading().await;
    let two = launch("two").ready().await;
    let (leader, epoch) = sources.leader().await;
    assert_eq!(leader, "one");
    let relay = Relay::new(&[one.grpc]).await;
    let site = Site::new();
    let server = sources.replica(&site, &relay.config()).start().await;
    until_reported_by(&sources, "one", &names).await;
    let mut watcher = Watcher::until_open(one.grpc, "by-hand", 2).await;
    let (_, synced) = watcher.until_synced().await;
    watcher.ack(synced.version);
    let prober = Prober::start(server.http, &server.target("web-0"));

    one.freeze();
    relay.to(&[two.grpc]);
    eventually("the other takes over", || async {
        (sources.leader().await == ("two".to_owned(), epoch + 1)).then_some(())
    })
    .await;
    for name in &names {
        sources.source(name, mappings(2)).await;
    }
    until_reported_by(&sources, "two", &names).await;
    let metrics = server.get("/metrics").await.expect("metrics").text();
    let connected = format!("segment_source_configuration_epoch {}", epoch + 1);
    assert!(metrics.contains(&connected), "{metrics}");
    let (before, revisions) = (urls(&sources).await, sources.revisions("web-0").await);

    // Its connections have all that happened meanwhile waiting for it.
    one.thaw();
    relay.to(&[one.grpc, two.grpc]);
    let ended = watcher.next().await.expect_err("the old leader serves no more");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    one.logged("that it does not lead", |line| line.contains("not leading any more")).await;
    // It has looked at everything that changed.
    eventually("the old leader is up to date", || async {
        let log = one.log();
        let looked = |name: &String| {
            let about = format!("{}/{name}\"", sources.namespace);
            log.lines().any(|it| it.contains(&about) && it.contains("NotLeading"))
        };
        names.iter().all(looked).then_some(())
    })
    .await;
    assert_eq!(one.metric("leading").await, 0.0);
    let refused = Watcher::open(one.grpc, "by-hand", 2).await.expect_err("it serves nobody");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(urls(&sources).await, before, "it has written a status");
    assert_eq!(sources.revisions("web-0").await, revisions);
    assert_eq!(sources.leader().await, ("two".to_owned(), epoch + 1));

    // And an edit is the new leader's.
    sources.source("web-0", mappings(3)).await;
    sources.until_ready("web-0").await;
    until_reported_by(&sources, "two", &names).await;
    let metrics = server.get("/metrics").await.expect("metrics").text();
    assert!(metrics.contains(&connected), "{metrics}");
    let sent = prober.stop().await;
    assert_eq!(sent.refused(), 0, "{sent:?}");
    drop(two);
}

#[tokio::test]
async fn leadership_is_handed_over_when_the_leader_ends() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "handed").await;
    sources.signing_secret().await;
    sources.source("web", mappings(1)).await;
    // As it is by default: without a hand-over it would take 15 s.
    let mut one = sources.operator("one").ready().await;
    one.until_leading().await;
    let two = sources.operator("two").ready().await;
    let (_, epoch) = sources.leader().await;
    let relay = Relay::new(&[one.grpc, two.grpc]).await;
    let site = Site::new();
    let server = sources.replica(&site, &relay.config()).start().await;
    sources.until_ready("web").await;
    let prober = Prober::start(server.http, &server.target("web"));
    prober.more(3).await;

    let asked = Instant::now();
    one.terminate();
    eventually("the other leads", || async {
        (sources.leader().await == ("two".to_owned(), epoch + 1)).then_some(())
    })
    .await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(15) / 2, "it took {took:?}, as if the Lease had run out");
    assert!(one.ended().await.success(), "{}", one.log());
    sources.source("web", mappings(2)).await;
    sources.until_ready("web").await;
    assert_eq!(two.metric("replicas{roles=\"edge+ingest\"}").await, 1.0);
    prober.more(3).await;
    let sent = prober.stop().await;
    assert_eq!((sent.refused(), sent.unanswered), (0, 0), "{sent:?}");
    let told = sources.events("web").await;
    assert_eq!(told.len(), 2, "one Event a generation: {told:?}");
}

/// The leader is silent, but its time is not over yet. Whoever waits has seen everything there is to
/// do.
#[tokio::test]
async fn who_waits_to_lead_writes_nothing() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "waiting").await;
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}});
    sources.apply(&[empty]).await;
    sources.signing_secret().await;
    sources.source("web", mappings(1)).await;
    // Far longer than this test takes.
    let one = sources.operator("one").flag("lease-duration", "120s").ready().await;
    one.until_leading().await;
    let replica = Watcher::until_open(one.grpc, "by-hand", 2).await.take_all();
    sources.until_ready("web").await;
    sources.until_events("web", &["Normal Accepted"]).await;
    let (_, epoch) = sources.leader().await;

    one.freeze();
    let two = sources.operator("two").flag("platform-token-secret", "token").ready().await;
    // Waits until it has ended a look at the source with this, after a line of its log.
    let looked_after = async |line: &str, end: &str| {
        eventually(&format!("a look after `{line}`"), || async {
            let log = two.log();
            let (_, after) = log.split_once(line)?;
            let looked = |it: &str| it.contains("/web\"") && it.contains(end);
            after.lines().any(looked).then_some(())
        })
        .await;
    };
    looked_after("revisions are listed", "looked at").await;
    let (before, recorded) = (sources.get("web").await, sources.revisions("web").await);
    sources.secret("segment", "not-a-real-secret-that-is-new").await;
    looked_after("new values of its Secrets are in use", "looked at").await;
    assert_eq!(sources.get("web").await, before);
    sources.source("web", mappings(2)).await;
    looked_after("new values of its Secrets are in use", "NotLeading").await;
    let now = sources.get("web").await;
    assert_eq!((&now["metadata"]["generation"], &now["status"]), (&json!(2), &before["status"]));
    assert_eq!(sources.revisions("web").await, recorded);
    sources.until_events("web", &["Normal Accepted"]).await;
    assert_eq!(two.metric("status_writes_total").await, 0.0);
    let secrets: Api<Secret> = Api::namespaced(sources.client.clone(), &sources.namespace);
    let left = secrets.get("token").await.expect("the Secret is there");
    assert_eq!(left.data, None, "it has filled a Secret");
    let refused = Watcher::open(two.grpc, "by-hand", 2).await.expect_err("it serves nobody");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    // All of that was the leader's to do.
    one.thaw();
    sources.until_ready("web").await;
    eventually("it records the edit", || async {
        let found: Vec<_> = sources.revisions("web").await.iter().map(|it| it.revision).collect();
        (found == [2]).then_some(())
    })
    .await;
    assert_eq!(sources.leader().await, ("one".to_owned(), epoch));
    drop(replica);
}

const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: work}
rules:
- {apiGroups: [segment-source.dev], resources: [segmentsources, segmentsources/status], verbs: ['*']}
- {apiGroups: ['', apps, events.k8s.io], resources: [secrets, controllerrevisions, events], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lead}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: ['*']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: work}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: work}
subjects: [{kind: ServiceAccount, name: operator}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lead}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: lead}
subjects: [{kind: ServiceAccount, name: operator}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-definitions}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: segment-source-tests-definitions}
subjects: [{kind: ServiceAccount, name: operator, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: segment-source-tests-definitions}
rules: [{apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get]}]
";

/// Everything else goes on working for it: it sees every change, could write, could serve. Only the
/// time that its last renewal was good for is over.
#[tokio::test]
async fn a_leader_that_cannot_renew_ends_by_itself() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "unable").await;
    let namespace = sources.namespace.clone();
    let accounts: Api<ServiceAccount> = Api::namespaced(sources.client.clone(), &namespace);
    let name = ObjectMeta { name: Some("operator".into()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata: name, ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.expect("it is made");
    let rights = RIGHTS.replace("NAMESPACE", &namespace);
    api.kubectl(&["apply", "-n", &namespace, "-f", "-"], &rights).await.exits(0);
    sources.signing_secret().await;
    sources.source("web", mappings(1)).await;

    let kubeconfig = api.account_kubeconfig(&namespace, "operator").await;
    let one = Operator::launch(&kubeconfig, &namespace).flag("name", "one");
    let one = one.flag("lease-duration", "3s").flag("public-url", &url("one")).ready().await;
    one.until_leading().await;
    let mut watcher = Watcher::until_open(one.grpc, "by-hand", 2).await;
    let (_, synced) = watcher.until_synced().await;
    watcher.ack(synced.version);
    until_reported_by(&sources, "one", &["web".into()]).await;
    let (_, epoch) = sources.leader().await;

    let bindings: Api<RoleBinding> = Api::namespaced(sources.client.clone(), &namespace);
    bindings.delete("lead", &DeleteParams::default()).await.expect("it was there");
    one.logged("that the Lease is out of reach", |line| line.contains("cannot look after")).await;
    let ended = watcher.next().await.expect_err("nothing is to be told");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    // It is over before anybody else can lead.
    assert_eq!(sources.leader().await, ("one".to_owned(), epoch));
    let before = sources.get("web").await;
    let written = one.metric("status_writes_total").await;
    let two = sources.operator("two").flag("lease-duration", "3s");
    let two = two.flag("public-url", &url("two")).ready().await;
    two.until_leading().await;
    sources.source("web", mappings(2)).await;
    let watcher = Watcher::until_open(two.grpc, "by-hand", 2).await;
    assert_eq!(i64::try_from(watcher.opened.epoch), Ok(i64::from(epoch) + 1));
    let _replica = watcher.take_all();
    until_reported_by(&sources, "two", &["web".into()]).await;
    assert_ne!(sources.get("web").await["metadata"], before["metadata"]);
    one.logged("that it saw the edit", |line| {
        line.contains("/web\"") && line.contains("NotLeading")
    })
    .await;
    assert_eq!(one.metric("status_writes_total").await, written);
    let refused = Watcher::open(one.grpc, "by-hand", 2).await.expect_err("it serves nobody");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

/// A leader of yesterday that nothing has told so: it would say that there are no sources at all.
#[tokio::test]
async fn a_server_with_a_lower_epoch_is_left() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let (yesterday, sources) =
        (Sources::new(api, "yesterday").await, Sources::new(api, "today").await);
    let old = yesterday.operator("old").ready().await;
    old.until_leading().await;
    let (_, low) = yesterday.leader().await;

    sources.signing_secret().await;
    sources.source("web", mappings(1)).await;
    let first = sources.operator("first").ready().await;
    first.until_leading().await;
    drop(first);
    sources.release_lease().await;
    let new = sources.operator("new").ready().await;
    new.until_leading().await;
    let (_, high) = sources.leader().await;
    assert!(low < high, "{low} {high}");

    let relay = Relay::new(&[new.grpc]).await;
    let site = Site::new();
    let launch = sources.replica(&site, &relay.config());
    let server = launch.clone().start().await;
    sources.until_ready("web").await;
    let prober = Prober::start(server.http, &server.target("web"));
    prober.more(3).await;
    relay.to(&[old.grpc]);
    drop(new);
    let left = |line: &str| line.contains(&format!("its epoch is {low}"));
    server.logged("that the old one is left", left).await;
    prober.more(20).await;
    let sent = prober.stop().await;
    assert_eq!(sent.refused(), 0, "{sent:?}");
    drop(server);

    // It is remembered over a restart.
    let server = launch.start().await;
    server.logged("that the old one is left", left).await;
    let prober = Prober::start(server.http, &server.target("web"));
    prober.more(3).await;
    let sent = prober.stop().await;
    assert_eq!(sent.refused(), 0, "{sent:?}");
}
