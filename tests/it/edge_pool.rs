//! One edge and several ingests, of which any may go at any time: every event is answered 202, and
//! is stored once. Stand-ins share one store, so that receipts can be looked at; where real ingests take
//! part, each has its own. Ingests on one Redis are `redis_roles`.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use segment_source_tests::{
    ingests::{Shared, StandIn},
    relay::Relay,
    senders::Senders,
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::{Value, json};

use crate::edge_unavailable::unshare;

/// An edge over ingests at these addresses.
async fn edge(site: &Site, ingests: &[SocketAddr]) -> Server {
    let list: Vec<String> = ingests.iter().map(ToString::to_string).collect();
    let store = site.path().join("edge").display().to_string();
    let edge = site.launch().flag("role", "edge").flag("store", &store);
    let edge = edge.flag("ingest", &list.join(",")).start().await;
    ready(&edge, ingests.len()).await;
    edge
}

/// A number from the metrics; 0 where there is none.
pub(crate) async fn metric(server: &Server, name: &str) -> u64 {
    let page = server.get("/metrics").await.expect("metrics").text();
    let start = format!("segment_source_edge_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(start.as_str()));
    value.map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until so many ingests are reached and ready.
pub(crate) async fn ready(edge: &Server, count: usize) {
    eventually("the edge knows its ingests", || async {
        (metric(edge, "ingests").await == count as u64).then_some(())
    })
    .await;
}

fn load(edge: &Server) -> Senders {
    Senders::start(&[edge.http], &["web".to_owned()], Duration::ZERO)
}

/// The ids in what is stored; none is there twice.
fn ids(shared: &Shared) -> BTreeSet<String> {
    let events = shared.now().events;
    let id = |body: &Vec<u8>| {
        let event: Value = serde_json::from_slice(body).expect("JSON");
        event["messageId"].as_str().expect("an id").to_owned()
    };
    let ids: BTreeSet<String> = events.values().map(id).collect();
    assert_eq!(ids.len(), events.len(), "an event came with two receipts");
    ids
}

fn say(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}

/// Three ingests over one store, each behind a network of its own.
struct Three {
    shared: Shared,
    ingests: Vec<(StandIn, Relay)>,
}

impl Three {
    async fn new() -> Self {
        let (shared, mut ingests) = (Shared::default(), Vec::new());
        for _ in 0..3 {
            let ingest = shared.ingest("127.0.0.1:0").await;
            let relay = Relay::new(&[ingest.address]).await;
            ingests.push((ingest, relay));
        }
        Self { shared, ingests }
    }

    async fn edge(&self, site: &Site) -> Server {
        let addresses: Vec<_> = self.ingests.iter().map(|(_, relay)| relay.address).collect();
        edge(site, &addresses).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingests_killed_drained_and_cut_off_under_load_cost_nothing() {
    let site = Site::with_web(json!({}));
    let three = Three::new().await;
    let edge = three.edge(&site).await;
    let load = load(&edge);
    load.more(100).await;
    for (ingest, _) in &three.ingests {
        assert!(ingest.batches() > 0, "each has a share");
    }
    let (mut hits, mut noticed) = ([0; 3], [Duration::ZERO; 3]);
    for round in 0..18 {
        let (kind, (ingest, relay)) = (round / 3 % 3, &three.ingests[round % 3]);
        let before = metric(&edge, "resubmitted_events_total").await;
        let begun = Instant::now();
        match kind {
            // Its connections end, mid-batch, and there are no new ones.
            0 => {
                relay.to(&[]);
                relay.cut();
            }
            // It refuses what it gets, and says so.
            1 => ingest.drain(true).await,
            // Bytes stop, and nobody is told.
            _ => relay.pause(true),
        }
        ready(&edge, 2).await;
        noticed[kind] = begun.elapsed().max(noticed[kind]);
        load.more(50).await;
        hits[kind] += u64::from(metric(&edge, "resubmitted_events_total").await > before);
        relay.to(&[ingest.address]);
        relay.pause(false);
        ingest.drain(false).await;
        ready(&edge, 3).await;
    }
    let (accepted, refused) = load.end().await;
    let again = three.shared.now().again;
    let resubmitted = metric(&edge, "resubmitted_events_total").await;
    say(&format!(
        "edge_pool: {} events; of 6 each, killed hit {}, drained hit {}, cut off hit {} batches; \
         {resubmitted} events sent again, {again} of them stored before; {refused} refused; \
         noticed after at most {noticed:.1?}",
        accepted.len(),
        hits[0],
        hits[1],
        hits[2],
    ));
    assert_eq!(refused, 0, "the others were there");
    assert!(ids(&three.shared) == accepted, "what was answered is what is stored");
    assert!(hits[0] > 0 && hits[2] > 0 && again > 0, "the faults hit something");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_ingest_it_is_503_until_one_is_back() {
    let site = Site::with_web(json!({}));
    let three = Three::new().await;
    let edge = three.edge(&site).await;
    let body = || track(&fresh_id(), "user-1", "Signed Up").to_string();
    assert_eq!(edge.post("web", body()).await.counts(), (1, 0));
    for (_, relay) in &three.ingests {
        relay.to(&[]);
        relay.cut();
    }
    ready(&edge, 0).await;
    edge.post("web", body()).await.assert_heals();
    let page = edge.get("/ready").await.expect("it answers");
    assert_eq!((page.status, page.text().contains("ingest")), (503, true), "{}", page.text());
    let (ingest, relay) = &three.ingests[1];
    relay.to(&[ingest.address]);
    ready(&edge, 1).await;
    assert_eq!(edge.post("web", body()).await.counts(), (1, 0));
    assert_eq!(edge.get("/ready").await.expect("it answers").status, 200);
}

/// A name whose addresses change, as those of a headless Service do. The edge sees a hosts file of
/// its own.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_come_into_a_name_get_work_and_those_that_go_get_no_more() {
    let Some(unshare) = unshare() else {
        say("SKIPPED: this machine lets nobody mount a file");
        return;
    };
    let (site, shared) = (Site::with_web(json!({})), Shared::default());
    let first = shared.ingest("127.0.0.2:0").await;
    let port = first.address.port();
    let second = shared.ingest(("127.0.0.3", port)).await;
    let third = shared.ingest(("127.0.0.4", port)).await;
    let hosts = site.path().join("hosts");
    let names = |last: &[u8]| {
        let lines: String = last.iter().map(|last| format!("127.0.0.{last} localhost\n")).collect();
        fs::write(&hosts, lines).expect("the hosts file");
    };
    names(&[2, 3]);
    let mount = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let wrapper = [unshare, &["sh", "-c", &mount]].concat();
    let store = site.path().join("edge").display().to_string();
    let edge = site.launch().flag("role", "edge").flag("store", &store).through(&wrapper);
    let edge = edge.flag("ingest", &format!("localhost:{port}")).start().await;
    ready(&edge, 2).await;
    let load = load(&edge);
    let works = async |ingest: &StandIn| {
        let before = ingest.batches();
        eventually("it gets work", || async { (ingest.batches() > before).then_some(()) }).await;
    };
    works(&first).await;
    works(&second).await;
    assert_eq!(third.batches(), 0);
    names(&[2, 3, 4]);
    works(&third).await;
    names(&[3, 4]);
    ready(&edge, 2).await;
    // What was on its way may still arrive.
    load.more(10).await;
    let before = first.batches();
    load.more(100).await;
    assert_eq!(first.batches(), before, "it is in the name no more");
    works(&second).await;
    // A name server that is away stops nothing.
    names(&[]);
    edge.logged("a line about the name", |line| line.contains("cannot be found")).await;
    load.more(100).await;
    let (accepted, refused) = load.end().await;
    assert_eq!(refused, 0);
    assert_eq!((ids(&shared) == accepted, shared.now().again), (true, 0));
}

/// Real ingests, each with a store of its own: one is killed, the other one frozen, and one drains.
#[tokio::test(flavor = "multi_thread")]
async fn real_ingests_come_and_go_and_nothing_accepted_is_lost() {
    let site = Site::with_web(json!({}));
    let store = |name: &str| site.path().join(name).display().to_string();
    let launch = |name: &str| site.launch().flag("role", "ingest").flag("store", &store(name));
    let mut one = launch("one").start().await;
    let two = launch("two").start().await;
    let edge = edge(&site, &[one.grpc, two.grpc]).await;
    let load = load(&edge);
    load.more(50).await;
    let address = one.grpc.to_string();
    one.kill();
    ready(&edge, 1).await;
    load.more(50).await;
    let mut one = launch("one").flag("grpc", &address).start().await;
    ready(&edge, 2).await;
    load.more(50).await;
    two.freeze();
    ready(&edge, 1).await;
    load.more(50).await;
    two.thaw();
    ready(&edge, 2).await;
    load.more(50).await;
    one.terminate();
    ready(&edge, 1).await;
    load.more(50).await;
    assert!(soon("it ends", one.ended()).await.success(), "{}", one.log());
    let (accepted, refused) = load.end().await;
    let one = launch("one").start().await;
    let mut stored = BTreeSet::new();
    for ingest in [&one, &two] {
        let own: BTreeSet<String> =
            ingest.events("web").await.into_iter().map(|event| event.key).collect();
        assert!(own.len() > 50, "each has a share: {}", own.len());
        stored.extend(own);
    }
    say(&format!(
        "edge_pool: {} events over a kill, a freeze and a drain; {} sent again; {refused} refused",
        accepted.len(),
        metric(&edge, "resubmitted_events_total").await
    ));
    assert_eq!(refused, 0);
    assert!(accepted.is_subset(&stored), "accepted and not stored");
}
