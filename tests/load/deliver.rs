//! From the request to the destination: accept, plan and deliver under one load, and what
//! destinations that fail do to everything else. Variants that are compared run in turns, so that
//! whatever else the machine does meets all of them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use segment_source_tests::{
    manifest::{signing_secret, source},
    process::cpu_micros,
    server::Server,
    site::Site,
    wait::eventually,
};
use serde_json::{Value, json};

use crate::{
    Args, consume, event, measured,
    report::{Comparison, Report, Row},
    run::{self, Load, Measured},
    sink::{FAILING, STEADY, Sink},
};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Deliver {
    /// Accept, plan and deliver to the directory.
    Directory,
    /// Accept, plan and hand to a queue consumer that acks.
    Queue,
    /// Accept, plan and post to an endpoint that answers after 5 ms.
    Http,
    /// Accepting while one destination of two is down and 100,000 actions wait.
    Down,
    /// Delays of nine tenths of the users while one tenth is answered 503 for good.
    Failing,
}

/// The endpoint takes so long.
const ANSWERS_AFTER: Duration = Duration::from_millis(5);
/// Actions that wait for the destination that is down.
const WAITING: u64 = 100_000;
/// Events per second of the open loop, unless another rate is given.
const RATE: u64 = 1_500;
/// The longest that what was accepted takes to be delivered.
const DRAINED: u64 = 120;

/// A program on a store of its own, with a source called `web` and one without mappings.
struct Rig {
    _site: Site,
    server: Server,
    /// Deliveries to each destination that is up, so far.
    delivered: u64,
}

impl Rig {
    async fn start(folder: &Path, args: &Args, to: &[(&str, Value)]) -> anyhow::Result<Self> {
        let mapping = |name: &str| {
            json!({
                "name": format!("to-{name}"),
                "eventType": format!("track/{}", event::NAME),
                "destination": name,
                "action": {"usersIdentify": {
                    "id": {"path": "body.userId"},
                    "name": {"path": "body.messageId"},
                    "properties": {"path": "body.properties"},
                }},
            })
        };
        let mappings: Vec<_> = to.iter().map(|(name, _)| mapping(name)).collect();
        let destinations: Vec<_> = to
            .iter()
            .filter(|(_, kind)| !kind.is_null())
            .map(|(name, kind)| {
                let mut destination = kind.clone();
                destination["name"] = json!(name);
                destination
            })
            .collect();
        let spec = json!({
            "mappings": mappings,
            "destinations": destinations,
            "delivery": {"concurrency": args.concurrency},
        });
        let site = Site::inside(folder);
        let sources = [signing_secret(), source("web", spec), source("plain", json!({}))];
        site.write("all.yaml", &sources);
        let launch = site.launch().flag("log", "warn,segment_source=info");
        let server = launch.flag("allow-destination", "127.0.0.0/8").start().await;
        Ok(Self { _site: site, server, delivered: 0 })
    }

    fn load(&self, args: &Args, source: &'static str) -> Load {
        args.load(self.server.http, source)
    }

    /// Waits until so many more actions were delivered.
    async fn drained(&mut self, kind: &str, more: u64) -> anyhow::Result<()> {
        self.delivered += more;
        let begun = Instant::now();
        while self.done(kind).await < self.delivered {
            anyhow::ensure!(
                begun.elapsed().as_secs() < DRAINED,
                "{} of {} actions were delivered",
                self.done(kind).await,
                self.delivered
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn done(&self, kind: &str) -> u64 {
        let page = self.server.get("/metrics").await.map(|reply| reply.text()).unwrap_or_default();
        let name = "segment_source_delivery_attempts_total{";
        let of_kind = [format!("kind=\"{kind}\""), "outcome=\"done\"".to_owned()];
        let lines = page.lines().filter(|line| line.starts_with(name));
        let lines = lines.filter(|line| of_kind.iter().all(|label| line.contains(label)));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

/// Measures what is wanted.
pub(crate) async fn run(folder: &Path, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let epoch = args.epoch;
    let sink = Sink::start(epoch, ANSWERS_AFTER).await?;
    let kinds: Vec<_> = [Deliver::Directory, Deliver::Queue, Deliver::Http]
        .into_iter()
        .filter(|kind| args.deliver.contains(kind))
        .collect();
    end_to_end(folder, args, &kinds, &sink, report).await?;
    if args.deliver.contains(&Deliver::Down) {
        down(folder, args, &sink, report).await?;
    }
    if args.deliver.contains(&Deliver::Failing) {
        failing(folder, args, &sink, report).await?;
    }
    Ok(())
}

/// How many actions a second go all the way: time counts from the first request until the last
/// delivery.
async fn end_to_end(
    folder: &Path,
    args: &Args,
    kinds: &[Deliver],
    sink: &Sink,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut rigs = BTreeMap::new();
    for kind in kinds {
        let to = match kind {
            Deliver::Directory => ("people", json!({"directory": {}})),
            Deliver::Http => ("crm", json!({"http": {"url": sink.url(STEADY)}})),
            // The one that every source has.
            _ => ("default", Value::Null),
        };
        rigs.insert(*kind, Rig::start(folder, args, &[to]).await?);
    }
    for _ in 0..args.rounds {
        for (kind, rig) in &mut rigs {
            let threads = threads(rig.server.pid());
            let cpu = cpu_micros(rig.server.pid());
            let (name, measured) = match kind {
                Deliver::Queue => ("queue", through_queue(rig, args).await?),
                Deliver::Directory => ("directory", pushed(rig, args, "directory").await?),
                _ => ("http", pushed(rig, args, "http").await?),
            };
            let cpu = cpu_micros(rig.server.pid()) - cpu;
            let memory = segment_source_tests::process::memory(rig.server.pid()).0;
            report.spent(&format!("{name}, all the way"), &threads, rig.server.pid(), &measured);
            report.add(Row::new(&format!("{name}, all the way"), measured, cpu, memory));
        }
    }
    Ok(())
}

async fn pushed(rig: &mut Rig, args: &Args, kind: &str) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let mut measured = run::run(rig.load(args, "web")).await?;
    rig.drained(kind, measured.count).await?;
    measured.elapsed = begun.elapsed();
    Ok(measured)
}

async fn through_queue(rig: &Rig, args: &Args) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let wanted = AtomicU64::new(u64::MAX);
    let load = async {
        let measured = run::run(rig.load(args, "web")).await?;
        wanted.store(measured.count, Ordering::Relaxed);
        anyhow::Ok(measured)
    };
    let seconds = args.seconds + DRAINED;
    let consume = consume::run(&rig.server, "web", seconds, Some(&wanted));
    let (mut measured, consumed) = tokio::try_join!(load, consume)?;
    measured.elapsed = begun.elapsed();
    measured.errors += measured.count.abs_diff(consumed.count);
    Ok(measured)
}

/// Two programs: with two destinations that are up, and with one that is down for which much waits.
async fn down(folder: &Path, args: &Args, sink: &Sink, report: &mut Report) -> anyhow::Result<()> {
    let up = |path: &str| json!({"http": {"url": format!("{}{path}", sink.url(STEADY))}});
    // A port that nobody listens on: it was ours a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let gone = json!({"http": {"url": format!("http://{closed}/")}});
    let mut both = Rig::start(folder, args, &[("one", up("1")), ("two", up("2"))]).await?;
    let mut one = Rig::start(folder, args, &[("one", up("1")), ("two", gone)]).await?;
    let filling = Load { users: WAITING, most: WAITING, seconds: 60, ..one.load(args, "web") };
    let filled = measured("filling", &one.server, run::run(filling)).await?;
    anyhow::ensure!(filled.count >= WAITING, "only {} actions wait", filled.count);
    one.drained("http", filled.count).await?;
    let (mut accepted, mut plain) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut cpu = [Vec::new(), Vec::new()];
    for _ in 0..args.rounds {
        for (rig, name, deliveries, at) in
            [(&mut both, "both up", 2, 0), (&mut one, "one down, 100,000 waiting", 1, 1)]
        {
            let load = run::run(rig.load(args, "web"));
            let row = measured(&format!("accept, {name}"), &rig.server, load).await?;
            accepted[at].push(row.per_second);
            rig.drained("http", row.count * deliveries).await?;
            report.add(row);
            let load = run::run(rig.load(args, "plain"));
            let row = measured(&format!("no mappings, {name}"), &rig.server, load).await?;
            plain[at].push(row.per_second);
            cpu[at].push(row.server_cpu_micros_each);
            report.add(row);
        }
    }
    for (what, [without, with]) in [
        ("accepted/s with two mappings", accepted),
        ("accepted/s without mappings", plain),
        ("CPU µs for each accepted without mappings", cpu),
    ] {
        report.compare(Comparison::new(
            &format!("{what}: one of two down and 100,000 waiting, to both up"),
            &with,
            &without,
        ));
    }
    Ok(())
}

/// Two programs: nobody fails, and every tenth user is answered 503 for good.
async fn failing(
    folder: &Path,
    args: &Args,
    sink: &Sink,
    report: &mut Report,
) -> anyhow::Result<()> {
    let to = |path: &str| ("crm", json!({"http": {"url": sink.url(path)}}));
    let mut rigs = [
        (Rig::start(folder, args, &[to(STEADY)]).await?, "nobody fails", 0),
        (Rig::start(folder, args, &[to(FAILING)]).await?, "10 % of users fail", 10),
    ];
    let mut p99 = [Vec::new(), Vec::new()];
    for _ in 0..args.rounds {
        for (at, (rig, name, percent)) in rigs.iter_mut().enumerate() {
            let rate = Some(args.rate.unwrap_or(RATE));
            let load = Load { rate, ..rig.load(args, "web") };
            let row = measured(&format!("open loop, {name}"), &rig.server, run::run(load)).await?;
            // Users come in turn, so that it is the tenth event that fails.
            let good = row.count - (row.count * *percent).div_ceil(100);
            rig.drained("http", good).await?;
            let delays = sink.delays();
            p99[at].push(delays.value_at_quantile(0.99) as f64 / 1000.0);
            report.add(Row::of_delays(&format!("delay, {name}"), &delays, &row));
        }
    }
    let [without, with] = p99;
    report.compare(Comparison::new(
        "p99 delay, ms: 10 % of users fail for good, to nobody fails",
        &with,
        &without,
    ));
    eventually("both still answer", || async {
        let mut ready = true;
        for (rig, _, _) in &rigs {
            ready &= rig.server.get("/ready").await.is_some_and(|reply| reply.status == 200);
        }
        ready.then_some(())
    })
    .await;
    Ok(())
}

/// CPU time of each kind of thread of a process, and of this one as a whole, in clock ticks.
pub(crate) fn threads(pid: u32) -> BTreeMap<String, u64> {
    let own = cpu_micros(std::process::id()) * rustix::param::clock_ticks_per_second() / 1_000_000;
    let mut all = BTreeMap::from([("generator and sink".to_owned(), own)]);
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        let name = before.split_once('(').map(|(_, name)| name).unwrap_or_default();
        let ticks = after.split_whitespace().skip(11).take(2);
        *all.entry(name.to_owned()).or_default() +=
            ticks.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    all
}
