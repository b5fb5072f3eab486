//! Several edges and several ingests on one Redis, on a whole cluster: installed as the documentation
//! says it, over TLS and as an ACL user. Pods and Redis are killed and all pods are replaced while
//! somebody sends all the time: every accepted event is in the log once and is delivered, and what was
//! under way at a kill is told again with the same key and bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use segment_source_tests::{
    kube::cluster::Cluster,
    manifest::{signed_up_to, signing_secret, source},
    page::blocks,
    prober::{Prober, Sent},
    process::root,
    redis::{At, Redis, Setup, tls_available},
    release::{Mode, Release, shared, timing},
    sink::{Answer, Sink},
    wait::eventually,
};
use serde_json::json;

/// Two, so that two partitions have something to do.
const SOURCES: [&str; 2] = ["web", "shop"];

/// `delivery.concurrency` as it is by default: of each source.
const UNDER_WAY: usize = 64 * SOURCES.len();

/// How long a delivery takes, so that some are under way whenever something is killed.
const WHILE: Duration = Duration::from_millis(200);

const USER: (&str, &str) = ("segment-source", "not-a-real-password-of-redis");

#[tokio::test]
async fn distributed_on_a_redis_is_killed_and_upgraded() {
    if !tls_available() {
        return;
    }
    let Some(cluster) = shared().await else { return };
    let release = Release::without_volume(cluster, Mode::Distributed).await;
    let mut redis = start_redis(cluster, &release).await;
    let sink = Sink::on(cluster.listen().await, None, |_| Answer::Slow(WHILE));
    install(cluster, &release, &redis, &sink).await;
    let load = Load::start(&release, sink).await;
    load.more().await;
    eventually("both ingests have partitions", || async {
        (redis.partitions().await.len() == 2).then_some(())
    })
    .await;

    // Each: one of them has the partition of a source.
    let mut kills = 0;
    for pod in release.pods("ingest").await {
        let before = load.begins().await;
        release.kill_pod(&pod, INGESTS).await;
        load.went_on("an ingest pod was deleted by force", &before, UNDER_WAY).await;
        kills += 1;
    }
    for pod in release.pods("ingest").await {
        let before = load.begins().await;
        release.kill_container(&pod).await;
        load.went_on("the container of an ingest was killed", &before, UNDER_WAY).await;
        kills += 1;
    }
    let edges = release.pods("edge").await;
    let before = load.begins().await;
    release.kill_pod(&edges[0], "deployment/segment-source-edge").await;
    load.went_on("an edge pod was deleted by force", &before, 0).await;
    let before = load.begins().await;
    release.kill_container(&edges[1]).await;
    load.went_on("the container of an edge was killed", &before, 0).await;

    let before = load.begins().await;
    let old: BTreeSet<String> = release.pods("ingest").await.into_iter().collect();
    release.upgrade(&["podAnnotations.upgraded=now"]).await;
    release.until_rolled_out(INGESTS).await;
    load.went_on("all pods were replaced by an upgrade", &before, 0).await;
    let new: BTreeSet<String> = release.pods("ingest").await.into_iter().collect();
    assert!(old.is_disjoint(&new), "{old:?} {new:?}");

    for _ in 0..2 {
        let before = load.begins().await;
        redis.kill();
        load.is_refused(&before).await;
        redis.start_again().await;
        load.went_on("Redis was killed and started again", &before, UNDER_WAY).await;
        kills += 1;
    }
    load.ends(&release, kills).await;
    release.uninstall().await;
}

/// The only pod is replaced without a gap: for a moment there are two.
#[tokio::test]
async fn single_on_a_redis_is_killed_and_upgraded() {
    if !tls_available() {
        return;
    }
    let Some(cluster) = shared().await else { return };
    let release = Release::without_volume(cluster, Mode::Single).await;
    let redis = start_redis(cluster, &release).await;
    let sink = Sink::on(cluster.listen().await, None, |_| Answer::Slow(WHILE));
    install(cluster, &release, &redis, &sink).await;
    let load = Load::start(&release, sink).await;
    load.more().await;
    let [pod] = &release.pods("single").await[..] else { panic!("one pod") };
    let before = load.begins().await;
    release.kill_container(pod).await;
    load.went_on("the container of the only pod was killed", &before, UNDER_WAY).await;
    let before = load.begins().await;
    release.kill_pod(pod, "deployment/segment-source").await;
    load.went_on("the only pod was deleted by force", &before, UNDER_WAY).await;
    let before = load.begins().await;
    release.upgrade(&["podAnnotations.upgraded=now"]).await;
    load.went_on("the only pod was replaced by an upgrade", &before, 0).await;
    load.ends(&release, 2).await;
    release.uninstall().await;
}

const INGESTS: &str = "deployment/segment-source-ingest";

/// A Redis beside the cluster, called as the documentation calls it.
async fn start_redis(cluster: &Cluster, release: &Release<'_>) -> Redis {
    let namespace = &release.namespace;
    let at = At {
        netns: cluster.netns().to_owned(),
        address: cluster.address(),
        name: format!("redis.{namespace}.svc"),
    };
    let setup = Setup { user: Some(USER), at: Some(Box::new(at)), ..Setup::default().with_tls() };
    let redis = Redis::start(setup.with("maxmemory-policy", "noeviction")).await;
    release
        .apply(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "redis"},
            "spec": {"ports": [{"name": "redis", "port": 6379, "targetPort": redis.port()}]},
        }))
        .await;
    release
        .apply(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "redis", "labels": {"kubernetes.io/service-name": "redis"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [cluster.address()], "conditions": {"ready": true}}],
            "ports": [{"name": "redis", "port": redis.port(), "protocol": "TCP"}],
        }))
        .await;
    redis
}

/// The commands of docs/kubernetes.md, but for the namespace, the image, and that the definition is
/// there already and the sink is allowed.
async fn install(cluster: &Cluster, release: &Release<'_>, redis: &Redis, sink: &Sink) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("password"), USER.1).expect("a file");
    let authority = redis.authority().expect("it has TLS");
    fs::write(folder.path().join("ca.crt"), authority).expect("a file");
    std::os::unix::fs::symlink(root().join("charts"), folder.path().join("charts"))
        .expect("a link");
    let mut blocks = blocks("docs/kubernetes.md", "## In a Redis", Some("## Upgrade"));
    blocks.retain(|block| block.language == "sh");
    let [commands] = &blocks[..] else { panic!("{blocks:?}") };
    let more = format!(
        "--wait --set crds.install=false --set 'allowDestinations={{{}/32}}'",
        sink.address.ip()
    );
    let commands = commands
        .text
        .replace("--wait", &more)
        .replace("registry.example.com/segment-source", "segment-source")
        .replace("--namespace prod", &format!("--namespace {}", release.namespace))
        .replace("redis.prod.svc", &format!("redis.{}.svc", release.namespace));
    let commands = match release.mode() {
        Mode::Distributed => commands,
        Mode::Single => commands
            .replace("mode=distributed --set ingest.replicas=2", "mode=single")
            .replace("segment-source-ingest", "segment-source"),
    };
    let since = Instant::now();
    let done = cluster.shell(folder.path(), &commands).await;
    if done.code != Some(0) {
        let namespace = format!("--namespace={}", release.namespace);
        let pods = cluster.kubectl(&["describe", "pods", &namespace], "").await.said();
        let selector = "--selector=app.kubernetes.io/name=segment-source";
        let logs = cluster.kubectl(&["logs", &namespace, selector, "--prefix"], "").await.said();
        panic!("{commands}\n{}\n{pods}\n{logs}", done.said());
    }
    let mode = release.mode().name();
    timing(&format!("helm install --wait and doctor, mode {mode} with a Redis"), since);
    assert!(done.out.contains("rediss://"), "{}", done.said());
}

/// Who sends, and the endpoint that it all comes to.
struct Load {
    probers: Vec<Prober>,
    sink: Sink,
}

/// What a fault is measured by.
struct Counts {
    accepted: BTreeSet<String>,
    refused: usize,
    unanswered: usize,
}

impl Load {
    async fn start(release: &Release<'_>, sink: Sink) -> Self {
        let spec = signed_up_to(&sink.url("/"));
        release.apply(signing_secret()).await;
        for name in SOURCES {
            release.apply(source(name, spec.clone())).await;
        }
        let http = release.http().await.keep();
        let mut probers = Vec::new();
        for name in SOURCES {
            release.until(name, "condition=Ready").await;
            let path = format!("/v1/sources/{}/{name}", release.namespace);
            probers.push(Prober::start(http, &path));
        }
        Self { probers, sink }
    }

    /// What was before a fault that is to come when events of after that are on their way.
    async fn begins(&self) -> Counts {
        let before = self.now();
        self.more().await;
        before
    }

    async fn more(&self) {
        for prober in &self.probers {
            prober.more(50).await;
        }
    }

    fn now(&self) -> Counts {
        let sent: Vec<_> = self.probers.iter().map(Prober::sent).collect();
        Counts {
            accepted: sent.iter().flat_map(|it| it.accepted.iter().cloned()).collect(),
            refused: sent.iter().map(Sent::refused).sum(),
            unanswered: sent.iter().map(|it| it.unanswered).sum(),
        }
    }

    /// Idempotency key and body of each call, by the user, who is the messageId.
    fn calls(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let mut calls = BTreeMap::<String, Vec<_>>::new();
        for asked in self.sink.asked() {
            let id = asked.json()["data"]["id"].as_str().unwrap_or_default().to_owned();
            let key = asked.header("idempotency-key").to_owned();
            calls.entry(id).or_default().push((key, asked.body.clone()));
        }
        calls
    }

    /// Waits until senders are refused.
    async fn is_refused(&self, before: &Counts) {
        eventually("events are refused", || async {
            let now = self.now();
            (now.refused + now.unanswered > before.refused + before.unanswered + 10).then_some(())
        })
        .await;
    }

    /// After a fault new events are accepted, and all that ever were are delivered; says how it hit.
    async fn went_on(&self, what: &str, before: &Counts, may_repeat: usize) {
        self.more().await;
        let now = self.now();
        self.delivered(&now.accepted).await;
        // Events of before the fault may be repeated because of the one before.
        let repeated = self
            .calls()
            .iter()
            .filter(|(id, _)| !before.accepted.contains(*id))
            .map(|(_, calls)| calls.len() - 1)
            .sum::<usize>();
        say(&format!(
            "FAULT: {what}: {} attempts refused, {} without an answer, {repeated} deliveries \
             repeated, {} events accepted meanwhile",
            now.refused - before.refused,
            now.unanswered - before.unanswered,
            now.accepted.len() - before.accepted.len(),
        ));
        assert!(repeated <= may_repeat, "{what}: {repeated} deliveries were repeated");
    }

    async fn delivered(&self, accepted: &BTreeSet<String>) {
        eventually("every accepted event is delivered", || async {
            let calls = self.calls();
            accepted.iter().all(|id| calls.contains_key(id)).then_some(())
        })
        .await;
    }

    /// Nothing is lost, and nothing is doubled.
    async fn ends(self, release: &Release<'_>, kills: usize) {
        let mut sent = Vec::new();
        let Self { probers, sink } = self;
        for prober in probers {
            sent.push(prober.stop().await);
        }
        let rest = Self { probers: Vec::new(), sink };
        let all: BTreeSet<String> =
            sent.iter().flat_map(|sent| sent.accepted.iter().cloned()).collect();
        rest.delivered(&all).await;
        for (name, sent) in SOURCES.iter().zip(&sent) {
            release.each_in_the_log_once(sent, name).await;
        }
        let calls = rest.calls();
        for (id, calls) in &calls {
            assert!(all.contains(id), "{id} was never accepted");
            let same = calls.iter().all(|it| it == &calls[0]);
            assert!(same, "a repeated call has the same key and bytes: {calls:?}");
        }
        let keys: BTreeSet<_> = calls.values().map(|calls| &calls[0].0).collect();
        assert_eq!(keys.len(), all.len(), "each event has a key of its own");
        let again: usize = calls.values().map(|calls| calls.len() - 1).sum();
        assert!(again > 0, "no kill ever met a delivery under way");
        assert!(again <= UNDER_WAY * kills, "{again} calls were repeated");
        say(&format!(
            "TOTAL: {} events accepted, {} known by an attempt before, {again} deliveries repeated, \
             the longest wait {:?}",
            all.len(),
            sent.iter().map(|it| it.duplicates).sum::<u64>(),
            sent.iter().map(|it| it.longest).max().unwrap_or_default(),
        ));
    }
}

fn say(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}
