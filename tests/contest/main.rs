//! Compares segment-source with what people would use instead: the same job, the same load, a ledger of
//! what was sent and what was delivered. See `tests/README.md`. Requests are made in [`event`] and sent
//! in [`generate`]; [`sink`] is delivered to, and [`ledger`] holds one against the other. [`peer`]
//! starts systems, [`session`] knows what they cost, [`gate`] whether they are right, [`search`] how
//! fast. What is found becomes files in `segment_source_tests::results`.

mod event;
mod gate;
mod generate;
mod ledger;
mod machine;
mod peer;
mod search;
mod session;
mod sink;
mod trial;

use std::{fs, io::Write as _, path::Path};

use clap::Parser;
use segment_source_tests::{
    process::root,
    results::{Machine, Results, Row, Scenario, chart, page},
};

use crate::{
    peer::Peer,
    search::{Case, Pace},
    sink::Sink,
};

/// Measures systems that do the job of segment-source, and segment-source, on this machine.
#[derive(Debug, Parser)]
#[command(name = "contest")]
struct Args {
    /// Only these, by the names of their folders in tests/peers. Rows of others stay as they are.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Short loads, to see whether everything works; writes into target/contest.
    #[arg(long)]
    quick: bool,
    /// Writes the page and the chart anew from results.json, and measures nothing.
    #[arg(long)]
    render: bool,
    /// Installs nothing.
    #[arg(long)]
    installed: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let committed = root().join("docs/benchmarks");
    if args.render {
        return write(&committed, &read(&committed)?);
    }
    let work = root().join("target/contest");
    fs::create_dir_all(&work)?;
    let mut peers = peer::all()?;
    for name in &args.only {
        let is_there = peers.iter().any(|peer| peer.name == *name);
        anyhow::ensure!(is_there, "there is no system {name} in tests/peers");
    }
    peers.retain(|peer| args.only.is_empty() || args.only.contains(&peer.name));
    let into = if args.quick { &work } else { &committed };
    let machine = machine::describe(&work)?;
    let kept = match args.only.is_empty() || !into.join("results.json").exists() {
        true => Vec::new(),
        false => kept(read(into)?, &peers, &machine)?,
    };
    if !args.installed {
        install(&peers)?;
    }
    session::end_when_told()?;
    let mut results = Results {
        machine,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        rows: Vec::new(),
    };
    let sink = Sink::start()?;
    let pace = if args.quick { Pace::QUICK } else { Pace::FULL };
    for peer in &peers {
        for &durability in &peer.durability {
            for scenario in [Scenario::Mixed, Scenario::Mapped] {
                say(&format!("{} ({durability}), {scenario}", peer.system));
                let folder = work.join("run");
                let case = Case { peer, durability, scenario, pace, sink: &sink, folder: &folder };
                results.rows.push(case.measure());
                // Whatever happens next, this is known.
                write_json(&work, &results)?;
            }
        }
    }
    results.rows.extend(kept);
    results
        .rows
        .sort_by_key(|row| (row.durability, row.scenario, !row.is_ours(), row.system.clone()));
    write(into, &results)?;
    page::print(&results, &mut std::io::stdout().lock())?;
    Ok(())
}

/// Tells how far it is.
fn say(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}

/// The rows of those that are not measured again.
fn kept(before: Results, again: &[Peer], here: &Machine) -> anyhow::Result<Vec<Row>> {
    let Results { machine, mut rows, .. } = before;
    rows.retain(|row| again.iter().all(|peer| peer.system != row.system));
    let same = machine.cpu == here.cpu && machine.cores == here.cores;
    anyhow::ensure!(
        same || rows.is_empty(),
        "the other rows are of another machine ({} cores, {}; this one: {} cores, {}): measure all again, \
         without --only",
        machine.cores,
        machine.cpu,
        here.cores,
        here.cpu
    );
    Ok(rows)
}

fn install(peers: &[Peer]) -> anyhow::Result<()> {
    let mut done: Vec<&str> = Vec::new();
    for peer in peers {
        if !done.contains(&peer.name.as_str()) {
            say(&format!("installing {}", peer.name));
            peer.install()?;
            done.push(&peer.name);
        }
    }
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<Results> {
    Ok(serde_json::from_str(&fs::read_to_string(folder.join("results.json"))?)?)
}

fn write_json(folder: &Path, results: &Results) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(results)? + "\n";
    Ok(fs::write(folder.join("results.json"), text)?)
}

/// The table for programs, and what people read.
fn write(folder: &Path, results: &Results) -> anyhow::Result<()> {
    write_json(folder, results)?;
    fs::write(folder.join("results.md"), page::render(results))?;
    fs::write(folder.join("results.svg"), chart::render(results))?;
    Ok(())
}
