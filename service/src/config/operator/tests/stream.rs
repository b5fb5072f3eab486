//! A replica and scripted operators, over real sockets.

use std::path::Path;

use prometheus_client::{encoding::text::encode, registry::Registry};
use segment_source_core::source::SourceId;
use segment_source_edge::SourceState;
use segment_source_ingest::SCHEMA_LEVEL;
use segment_source_proto::config::v1::{
    self as wire, Ack, Hello, Nack, watch_request::Request as Asked,
};
use segment_source_runtime::tls::{self, ClientCertificates, Identities, Security};
use segment_source_store::system_clock;
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Operator, Settings,
        cache::{Cache, Owner},
    },
    server::{Authority, PATIENCE, Server, loaded, name, not_loaded, opened, synced},
};
use crate::{
    args::Role,
    config::{Applied, Live, publish, tests::message},
};

/// A process as far as its configuration goes.
struct Replica {
    live: Live,
    registry: Registry,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

fn settings(server: &Server, role: Role, home: &Path) -> Settings {
    Settings {
        address: server.address.to_string().parse().unwrap(),
        identities: None,
        role,
        replica: "replica-0".to_owned(),
        cache: home.to_owned(),
    }
}

impl Replica {
    async fn start(settings: Settings) -> Self {
        let mut registry = Registry::default();
        let role = settings.role;
        let operator = Operator::open(settings, system_clock(), &mut registry).await.unwrap();
        let (live, publisher) = publish(operator.snapshots(), role);
        let (stop, applied) = (CancellationToken::new(), live.applied.clone());
        let running = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::join!(operator.run(applied, stop.clone()), publisher.run(stop));
            }
        });
        Self { live, registry, stop, running }
    }

    /// What the edge knows of a source.
    fn word(&self, name: &str) -> &'static str {
        let sources = self.live.edge.borrow();
        match sources.sources.get(&id(name)) {
            Some(SourceState::Live(_)) => "live",
            Some(SourceState::NotLoaded { .. }) => "not loaded",
            Some(SourceState::RecentlyRemoved) => "removed",
            None if sources.synced => "unknown",
            None => "not synced",
        }
    }

    fn generation(&self, name: &str) -> Option<i64> {
        self.live.ingest.borrow().sources.get(&id(name)).map(|it| it.generation())
    }

    async fn wait_for(&mut self, done: impl Fn(&Applied) -> bool) {
        let reached = timeout(PATIENCE, self.live.applied.wait_for(|it| done(it))).await;
        reached.expect("it happens").expect("it runs");
    }

    fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let prefix = format!("segment_source_configuration_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn id(name: &str) -> SourceId {
    format!("prod/{name}").parse().unwrap()
}

fn ack(version: u64) -> Asked {
    Asked::Ack(Ack { version })
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits until the cache holds these generations of sources, and this epoch.
async fn cached(settings: &Settings, epoch: u64, expected: &[(&str, i64)]) {
    let expected: Vec<(SourceId, i64)> =
        expected.iter().map(|(name, generation)| (id(name), *generation)).collect();
    let holds = async {
        loop {
            let owner = Owner::new(&settings.address, settings.role);
            let kept = Cache::open(&settings.cache, owner).1;
            let found: Vec<(SourceId, i64)> =
                kept.sources.iter().map(|(id, it)| (id.clone(), it.generation)).collect();
            if (found, kept.epoch, kept.complete) == (expected.clone(), epoch, true) {
                return;
            }
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, holds).await.expect("it is kept");
}

#[tokio::test]
async fn what_is_told_is_served_then_acknowledged() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let replica = Replica::start(settings(&server, Role::All, home.path())).await;
    assert!(!*replica.live.read.borrow());
    assert_eq!(replica.word("web"), "not synced");
    let mut stream = server.stream().await;
    let hello = Hello {
        roles: vec![wire::Role::Edge.into(), wire::Role::Ingest.into()],
        replica: "replica-0".to_owned(),
        schema_level: SCHEMA_LEVEL,
    };
    assert_eq!(stream.heard().await, Asked::Hello(hello));
    stream.tell([opened(3, &["app", "web"]), loaded(1, message("web", 1))]).await;
    stream.tell([not_loaded(2, "app", "wrong"), synced(2)]).await;
    assert_eq!(stream.heard().await, ack(2));
    let words = ["app", "web", "nowhere"].map(|name| replica.word(name));
    assert_eq!(words, ["not loaded", "live", "unknown"]);
    assert!(*replica.live.read.borrow());
    assert_eq!(replica.generation("web"), Some(1));

    stream.tell([loaded(3, message("web", 2))]).await;
    assert_eq!(stream.heard().await, ack(3));
    assert_eq!(replica.generation("web"), Some(2));
    let metrics = ["connected", "epoch", "version", "refused_sources"];
    assert_eq!(metrics.map(|name| replica.metric(name)), ["1", "3", "3", "0"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_role_asks_for_its_part_and_is_served_by_it() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let replica = Replica::start(settings(&server, Role::Edge, home.path())).await;
    let mut stream = server.stream().await;
    let Asked::Hello(hello) = stream.heard().await else { panic!("no hello") };
    assert_eq!(hello.roles, [i32::from(wire::Role::Edge)]);
    let part = wire::Source { processing: None, ..message("web", 1) };
    stream.tell([opened(1, &["web"]), loaded(1, part), synced(1)]).await;
    assert_eq!(stream.heard().await, ack(1));
    assert_eq!((replica.word("web"), replica.generation("web")), ("live", None));
    replica.stop().await;
}

#[tokio::test]
async fn a_lower_epoch_is_left_even_after_a_restart() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let settings = settings(&server, Role::All, home.path());
    let replica = Replica::start(settings.clone()).await;
    let mut stream = server.stream().await;
    stream.heard().await;
    stream.tell([opened(5, &["web"]), loaded(1, message("web", 1)), synced(1)]).await;
    assert_eq!(stream.heard().await, ack(1));
    cached(&settings, 5, &[("web", 1)]).await;
    drop(stream);

    // It does not know yet that it leads no more, nor of the source.
    let stream = server.stream().await;
    stream.tell([opened(4, &[])]).await;
    stream.left().await;
    assert_eq!(replica.word("web"), "live");
    replica.stop().await;

    let replica = Replica::start(settings).await;
    let stream = server.stream().await;
    stream.tell([opened(4, &[])]).await;
    stream.left().await;
    assert_eq!(replica.word("web"), "live");
    // The same epoch is heard.
    let mut stream = server.stream().await;
    stream.heard().await;
    stream.tell([opened(5, &["web"]), loaded(2, message("web", 2)), synced(2)]).await;
    assert_eq!(stream.heard().await, ack(2));
    assert_eq!(replica.generation("web"), Some(2));
    replica.stop().await;
}

#[tokio::test]
async fn who_does_not_lead_is_passed_over() {
    let home = home();
    let (other, mut leader) =
        (Server::not_leading().await, Server::leading(Security::Plaintext).await);
    let settings = settings(&other, Role::All, home.path());
    let mut registry = Registry::default();
    let operator = Operator::open(settings, system_clock(), &mut registry).await.unwrap();
    let mut client = operator.client;
    let servers = vec![other.address, leader.address, other.address];
    let (_sender, mut applied) = watch::channel(Applied::default());
    let talk = async {
        let mut stream = leader.stream().await;
        assert!(matches!(stream.heard().await, Asked::Hello(_)));
        stream.tell([opened(1, &[]), synced(1)]).await;
        // Ends well, so that the next one is tried.
        drop(stream);
    };
    let (round, ()) = tokio::join!(client.round(servers, &mut applied), talk);
    assert!(round.useful);
    assert_eq!(round.why, format!("the operator at {} ended the stream", leader.address));
    let round = client.round(vec![other.address, other.address], &mut applied).await;
    assert!(!round.useful);
    assert_eq!(round.why, "no replica of the operator leads and is ready");
}

#[tokio::test]
async fn while_the_operator_is_away_all_is_served_and_removals_are_found_after() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let mut replica = Replica::start(settings(&server, Role::All, home.path())).await;
    let mut stream = server.stream().await;
    stream.heard().await;
    let states = [loaded(1, message("app", 1)), loaded(2, message("web", 1)), synced(2)];
    stream.tell([opened(1, &["app", "web"])].into_iter().chain(states)).await;
    assert_eq!(stream.heard().await, ack(2));
    drop(stream);

    let mut stream = server.stream().await;
    let words = || ["app", "web", "nowhere"];
    assert_eq!(words().map(|name| replica.word(name)), ["live", "live", "unknown"]);
    stream.heard().await;
    stream.tell([opened(2, &["new", "web"])]).await;
    replica.wait_for(|it| it.snapshot.sources.contains_key(&id("new"))).await;
    let words = ["app", "new", "web"].map(|name| replica.word(name));
    assert_eq!(words, ["removed", "not loaded", "live"]);
    stream.tell([loaded(1, message("web", 1)), loaded(2, message("new", 1)), synced(2)]).await;
    assert_eq!(stream.heard().await, ack(2));
    assert_eq!((replica.word("app"), replica.word("new")), ("removed", "live"));
    assert_eq!(replica.metric("reconnects_total"), "1");
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_neither_replaces_nor_outlives_what_was_good() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let settings = settings(&server, Role::All, home.path());
    let replica = Replica::start(settings.clone()).await;
    let mut stream = server.stream().await;
    stream.heard().await;
    stream.tell([opened(1, &["web"]), loaded(1, message("web", 1)), synced(1)]).await;
    assert_eq!(stream.heard().await, ack(1));

    let level = SCHEMA_LEVEL + 1;
    let too_high =
        |name, generation| wire::Source { schema_level: level, ..message(name, generation) };
    let reason = format!(
        "schema_level: this source needs level {level}, this replica knows {SCHEMA_LEVEL}; \
         upgrade the replica"
    );
    let nack = |version, source| {
        Asked::Nack(Nack { version, source: Some(name(source)), reason: reason.clone() })
    };
    stream.tell([loaded(2, too_high("web", 2))]).await;
    assert_eq!([stream.heard().await, stream.heard().await], [nack(2, "web"), ack(2)]);
    stream.tell([loaded(3, too_high("new", 1))]).await;
    assert_eq!([stream.heard().await, stream.heard().await], [nack(3, "new"), ack(3)]);
    let served = (replica.word("web"), replica.generation("web"), replica.word("new"));
    assert_eq!(served, ("live", Some(1), "not loaded"));
    assert_eq!(replica.metric("refused_sources"), "2");

    // Another change is kept after the refused ones were not.
    stream.tell([loaded(4, message("app", 1))]).await;
    assert_eq!(stream.heard().await, ack(4));
    cached(&settings, 1, &[("app", 1), ("web", 1)]).await;
    replica.stop().await;
    drop(server);
    let replica = Replica::start(settings).await;
    assert_eq!((replica.word("web"), replica.generation("web")), ("live", Some(1)));
    replica.stop().await;
}

#[tokio::test]
async fn a_restart_while_the_operator_is_away_serves_what_was_kept() {
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let settings = settings(&server, Role::All, home.path());
    let replica = Replica::start(settings.clone()).await;
    let mut stream = server.stream().await;
    stream.heard().await;
    let states = [loaded(1, message("app", 1)), loaded(2, message("web", 1)), synced(2)];
    stream.tell([opened(1, &["app", "web"])].into_iter().chain(states)).await;
    assert_eq!(stream.heard().await, ack(2));
    stream.tell([super::server::removed(3, "app")]).await;
    assert_eq!(stream.heard().await, ack(3));
    cached(&settings, 1, &[("web", 1)]).await;
    replica.stop().await;
    drop((stream, server));

    let replica = Replica::start(settings.clone()).await;
    assert!(*replica.live.read.borrow(), "it is ready");
    let words = ["app", "web", "nowhere"].map(|name| replica.word(name));
    // Another source may have come meanwhile.
    assert_eq!(words, ["removed", "live", "not synced"]);
    replica.stop().await;

    // A process of another role needs another part.
    let edge = Settings { role: Role::Edge, ..settings };
    let replica = Replica::start(edge).await;
    assert_eq!((*replica.live.read.borrow(), replica.word("web")), (false, "not synced"));
    replica.stop().await;
}

#[tokio::test]
async fn over_mutual_tls_both_sides_know_each_other() {
    let (home, authority) = (home(), Authority::new());
    let secure = |role| Security::Tls {
        identities: authority.identity(role),
        clients: ClientCertificates::Required,
    };
    let edge: Identities = authority.identity(tls::Role::Edge);
    let mut server = Server::leading(secure(tls::Role::Operator)).await;
    let own = Settings {
        identities: Some(edge.clone()),
        ..settings(&server, Role::Edge, &home.path().join("one"))
    };
    let replica = Replica::start(own).await;
    let mut stream = server.stream().await;
    assert_eq!(stream.peer.roles, tls::Roles::from_iter([tls::Role::Edge]));
    stream.heard().await;
    stream.tell([opened(1, &["web"]), loaded(1, message("web", 1)), synced(1)]).await;
    assert_eq!(stream.heard().await, ack(1));
    assert_eq!(replica.word("web"), "live");
    replica.stop().await;

    // One that is no operator is not listened to, whatever it would say.
    let mut other = Server::leading(secure(tls::Role::Ingest)).await;
    let own = Settings {
        identities: Some(edge),
        ..settings(&other, Role::Edge, &home.path().join("two"))
    };
    let mut registry = Registry::default();
    let operator = Operator::open(own, system_clock(), &mut registry).await.unwrap();
    let mut client = operator.client;
    let (_sender, mut applied) = watch::channel(Applied::default());
    let address = other.address;
    let round = tokio::select! {
        round = client.round(vec![address], &mut applied) => round,
        _ = other.stream() => panic!("it was listened to"),
    };
    assert!(round.why.contains("TLS with"), "{}", round.why);
    assert!(!round.useful);
}

/// Prints what ten thousand sources cost.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "measured, not asserted")]
async fn many_sources_are_put_into_service_few_times() {
    const MANY: usize = 10_000;
    let (home, mut server) = (home(), Server::leading(Security::Plaintext).await);
    let mut replica = Replica::start(settings(&server, Role::All, home.path())).await;
    let mut stream = server.stream().await;
    stream.heard().await;
    let names: Vec<String> = (0..MANY).map(|number| format!("source-{number:05}")).collect();
    let shown: Vec<&str> = names.iter().map(String::as_str).collect();
    let begun = std::time::Instant::now();
    stream.tell([opened(1, &shown)]).await;
    let states = names.iter().zip(1..).map(|(name, version)| loaded(version, message(name, 1)));
    stream.tell(states.chain([synced(MANY as u64)])).await;
    assert_eq!(stream.heard().await, ack(MANY as u64));
    let all = begun.elapsed();
    let snapshots = replica.live.applied.borrow_and_update().snapshot.version;
    assert_eq!(replica.live.ingest.borrow().sources.len(), MANY);
    // At most one each 100 ms, and one for the end; far from one a source, however slow it is.
    assert!(u128::from(snapshots) <= 4 + all.as_millis() / 100, "{snapshots} in {all:?}");

    let begun = std::time::Instant::now();
    stream.tell([loaded(MANY as u64 + 1, message("source-05000", 2))]).await;
    assert_eq!(stream.heard().await, ack(MANY as u64 + 1));
    let one = begun.elapsed();
    println!("10,000 sources: in service in {all:?} by {snapshots} snapshots; one change {one:?}");
    assert_eq!(replica.generation("source-05000"), Some(2));
    replica.stop().await;
}
