//! Several edges and several ingests on one Redis, and what may happen to each of them: what was
//! accepted is delivered, and nothing twice that was settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use redis::cmd;
use segment_source_tests::{
    manifest::{documents, signed_up_to, signing_secret, source},
    redis::{Cluster, Redis, Setup, available},
    relay::Relay,
    senders::Senders,
    server::{Launch, Server},
    sign::fresh_id,
    sink::{Answer, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::Value;
use tokio::time::sleep;

/// What a process had that was killed waits until its leases end: those of deliveries last a minute, and
/// somebody has to own the partition.
const LAST_LEASE: Duration = Duration::from_secs(100);

/// Sources, so that several partitions have some.
const SOURCES: usize = 8;

pub(crate) fn say(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}

/// Programs of both roles on one store, and the endpoint that they deliver to.
pub(crate) struct Fleet {
    site: Site,
    sink: Sink,
    url: String,
    launches: Vec<Launch>,
    pub(crate) ingests: Vec<Server>,
    pub(crate) edges: Vec<Server>,
}

impl Fleet {
    pub(crate) async fn start(url: String, ingests: usize, edges: usize) -> Self {
        let sink = Sink::start().await;
        sink.answer(|_| Answer::status(200));
        let spec = signed_up_to(&sink.url("/"));
        let site = Site::new();
        site.write("secret.yaml", &[signing_secret()]);
        let manifests: Vec<Value> =
            sources().iter().map(|name| source(name, spec.clone())).collect();
        site.write_text("sources.yaml", &documents(&manifests));
        let (launches, servers) = (Vec::new(), Vec::new());
        let mut fleet = Self { site, sink, url, launches, ingests: servers, edges: Vec::new() };
        for _ in 0..ingests {
            fleet.add_ingest().await;
        }
        for _ in 0..edges {
            fleet.add_edge(&[]).await;
        }
        fleet
    }

    fn launch(&self, role: &str) -> Launch {
        let launch = Launch::new(&self.site.config(), &self.site.store());
        let name = format!("{role}-{}", fresh_id());
        let launch = launch.flag("role", role).flag("store", &self.url).flag("replica", &name);
        let launch = launch.flag("allow-destination", "127.0.0.0/8");
        launch.cache_in(self.site.path().join("cache").join(name))
    }

    async fn add_ingest(&mut self) {
        let launch = self.launch("ingest");
        self.ingests.push(launch.clone().start().await);
        self.launches.push(launch);
    }

    /// Starts one again that is gone: at the same address, with the same name.
    pub(crate) async fn start_again(&mut self, ingest: usize) {
        let address = self.ingests[ingest].grpc.to_string();
        let launch = self.launches[ingest].clone().flag("grpc", &address);
        self.ingests[ingest] = launch.start().await;
    }

    /// An edge over these addresses, or over all ingests.
    async fn add_edge(&mut self, at: &[SocketAddr]) {
        let all: Vec<_> = self.ingests.iter().map(|it| it.grpc).collect();
        let at = if at.is_empty() { &all } else { at };
        let list: Vec<String> = at.iter().map(ToString::to_string).collect();
        self.edges.push(self.launch("edge").flag("ingest", &list.join(",")).start().await);
    }

    pub(crate) fn load(&self) -> Senders {
        Senders::start(&self.edges_at(), &sources(), Duration::from_millis(5))
    }

    /// Where every second event has no key.
    pub(crate) fn half_keyless(&self) -> Senders {
        Senders::half_keyless(&self.edges_at(), &sources(), Duration::from_millis(5))
    }

    fn edges_at(&self) -> Vec<SocketAddr> {
        self.edges.iter().map(|edge| edge.http).collect()
    }

    /// How many entries the logs have: new ones, and duplicates of those.
    pub(crate) async fn logged(&self) -> (usize, usize) {
        let (mut new, mut duplicates) = (0, 0);
        for source in sources() {
            let events = self.ingests[0].events(&source).await;
            let of_source = events.iter().filter(|event| event.duplicate_of.is_empty()).count();
            (new, duplicates) = (new + of_source, duplicates + events.len() - of_source);
        }
        (new, duplicates)
    }

    /// Every accepted event was delivered; how many calls were made more than once.
    pub(crate) async fn delivered(&self, accepted: &BTreeSet<String>) -> usize {
        let begun = Instant::now();
        loop {
            let calls = self.calls();
            let missing = accepted.iter().filter(|id| !calls.contains_key(*id)).count();
            if missing == 0 {
                break;
            }
            assert!(begun.elapsed() < LAST_LEASE, "{missing} accepted events are not delivered");
            sleep(Duration::from_millis(50)).await;
        }
        say(&format!("all was delivered {} ms later", begun.elapsed().as_millis()));
        // What is under way, or was given back, ends.
        sleep(Duration::from_secs(2)).await;
        let calls = self.calls();
        let known = |id: &&String| !accepted.contains(*id);
        let unknown: Vec<_> = calls.keys().filter(known).collect();
        // Answers may be lost: then the sender has tried again with the same id, and has it accepted.
        assert!(unknown.is_empty(), "never accepted: {unknown:?}");
        for (id, keys) in &calls {
            let different: BTreeSet<_> = keys.iter().collect();
            assert_eq!(different.len(), 1, "{id} was delivered under several keys");
        }
        calls.values().filter(|keys| keys.len() > 1).count()
    }

    /// The idempotency keys of the calls for each event.
    fn calls(&self) -> BTreeMap<String, Vec<String>> {
        let mut calls = BTreeMap::<String, Vec<String>>::new();
        for asked in self.sink.asked() {
            let id = asked.json()["data"]["id"].as_str().unwrap_or_default().to_owned();
            calls.entry(id).or_default().push(asked.header("idempotency-key").to_owned());
        }
        calls
    }
}

fn sources() -> Vec<String> {
    (0..SOURCES).map(|n| format!("web-{n}")).collect()
}

#[tokio::test]
async fn edges_and_ingests_come_and_go_and_partitions_with_them() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let mut fleet = Fleet::start(redis.url(), 3, 2).await;
    eventually("three ingests divide the partitions", || async {
        let mut counts: Vec<_> = redis.partitions().await.into_values().collect();
        counts.sort_unstable();
        (counts == [5, 5, 6]).then_some(())
    })
    .await;
    let load = fleet.load();
    load.more(200).await;
    fleet.ingests[0].kill();
    load.more(200).await;
    fleet.ingests[1].terminate();
    load.more(200).await;
    fleet.edges[0].kill();
    load.more(200).await;
    eventually("the one that is left has all of them", || async {
        (redis.partitions().await.into_values().collect::<Vec<_>>() == [16]).then_some(())
    })
    .await;
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    say(&format!(
        "2 of 3 ingests and 1 of 2 edges went: {} events accepted, {refused} answers other than 202, {twice} \
         delivered twice",
        accepted.len()
    ));
    // Only what was under way when the first was killed.
    assert!(twice <= 64, "{twice} were delivered twice");
}

/// Longer than its partitions and leases last.
#[tokio::test]
async fn an_ingest_that_was_stopped_for_longer_than_its_lease_changes_nothing() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let fleet = Fleet::start(redis.url(), 2, 1).await;
    let load = fleet.load();
    load.more(200).await;
    let mut stops = 0;
    for _ in 0..2 {
        for ingest in &fleet.ingests {
            ingest.freeze();
            // The others take over what it had.
            sleep(Duration::from_secs(12)).await;
            load.more(50).await;
            ingest.thaw();
            load.more(50).await;
            stops += 1;
        }
    }
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    say(&format!(
        "{stops} stops: {} events accepted, {refused} answers other than 202, {twice} delivered twice",
        accepted.len()
    ));
    let settled: Vec<_> = fleet.ingests[0].events("web-0").await;
    assert!(
        settled.iter().all(|event| event.duplicate_of.is_empty() || accepted.contains(&event.key))
    );
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_has_lost_nothing() {
    if !available() {
        return;
    }
    let mut redis = Redis::start(Setup { port: true, ..Setup::default() }).await;
    let fleet = Fleet::start(redis.url(), 2, 1).await;
    let load = fleet.load();
    for round in 0..3 {
        load.more(150).await;
        redis.kill();
        if round < 2 {
            sleep(Duration::from_millis(300)).await;
        } else {
            // For longer than events are held.
            let refused = load.refused();
            eventually("events are refused", || async { (load.refused() > refused).then_some(()) })
                .await;
        }
        redis.start_again().await;
    }
    load.more(150).await;
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    say(&format!(
        "Redis was killed 3 times: {} events accepted, {refused} answers other than 202, {twice} delivered \
         twice",
        accepted.len()
    ));
    assert!(refused > 0, "it was never noticed");
    let (new, _) = fleet.logged().await;
    assert_eq!(new, accepted.len());
}

#[tokio::test]
async fn a_redis_that_pauses_is_waited_for() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let fleet = Fleet::start(redis.url(), 2, 1).await;
    let load = fleet.load();
    load.more(150).await;
    redis.process().freeze();
    sleep(Duration::from_secs(10)).await;
    redis.process().thaw();
    load.more(150).await;
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    say(&format!(
        "Redis paused for 10 s: {} events accepted, {refused} answers other than 202, {twice} delivered twice",
        accepted.len()
    ));
}

#[tokio::test]
async fn a_full_redis_accepts_nothing_and_lets_deliveries_drain() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let fleet = Fleet::start(redis.url(), 1, 1).await;
    let held = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let down = held.clone();
    fleet
        .sink
        .answer(move |_| Answer::status(if down.load(Ordering::Relaxed) { 503 } else { 200 }));
    let load = fleet.load();
    load.more(300).await;
    let used: String = redis.ask(cmd("INFO").arg("memory")).await;
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("memory");
    redis.set("maxmemory", used).await;
    let refused = load.refused();
    eventually("events are refused", || async { (load.refused() > refused + 20).then_some(()) })
        .await;
    held.store(false, Ordering::Relaxed);
    // All that waits is delivered while it is full.
    let before = fleet.calls().len();
    eventually("what waits is delivered", || async {
        let asked = fleet.sink.asked();
        (asked.len() > before && fleet.calls().len() >= 300).then_some(())
    })
    .await;
    redis.set("maxmemory", "0").await;
    load.more(50).await;
    let (accepted, refused) = load.end().await;
    let calls = fleet.calls();
    eventually("all is delivered", || async {
        let calls = fleet.calls();
        accepted.iter().all(|id| calls.contains_key(id)).then_some(())
    })
    .await;
    say(&format!(
        "Redis was full: {} accepted, {refused} refused, {} calls",
        accepted.len(),
        calls.len()
    ));
}

/// What an asynchronous replica had not got is lost: counted here, and told of in docs/redis.md. With
/// `min-replicas-to-write` a master that is alone takes nothing.
#[tokio::test]
async fn a_master_of_a_cluster_goes_under_load() {
    if !available() {
        return;
    }
    let mut cluster = Cluster::start(Setup::default()).await;
    let fleet = Fleet::start(cluster.url(), 2, 1).await;
    let load = fleet.load();
    load.more(300).await;
    cluster.nodes[0].kill();
    load.more(300).await;
    let (accepted, refused) = load.end().await;
    eventually("deliveries go on", || async {
        let calls = fleet.calls();
        let missing = accepted.iter().filter(|id| !calls.contains_key(*id)).count();
        (missing * 100 <= accepted.len()).then_some(())
    })
    .await;
    sleep(Duration::from_secs(3)).await;
    let calls = fleet.calls();
    let lost = accepted.iter().filter(|id| !calls.contains_key(*id)).count();
    say(&format!(
        "a master was killed: {} events accepted, {refused} answers other than 202, {lost} lost with it",
        accepted.len()
    ));
}

#[tokio::test]
async fn a_network_that_is_cut_between_edge_and_ingest_doubles_nothing() {
    if !available() {
        return;
    }
    let redis = Redis::start(Setup::default()).await;
    let mut fleet = Fleet::start(redis.url(), 2, 0).await;
    let relays =
        [Relay::new(&[fleet.ingests[0].grpc]).await, Relay::new(&[fleet.ingests[1].grpc]).await];
    fleet.add_edge(&relays.each_ref().map(|relay| relay.address)).await;
    let load = fleet.load();
    let mut cuts = 0;
    for _ in 0..10 {
        for relay in &relays {
            load.more(20).await;
            relay.cut();
            cuts += 1;
        }
    }
    load.more(50).await;
    let (accepted, refused) = load.end().await;
    let twice = fleet.delivered(&accepted).await;
    say(&format!(
        "{cuts} cuts: {} events accepted, {refused} answers other than 202, {twice} delivered twice",
        accepted.len()
    ));
    assert_eq!(twice, 0);
}
