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

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use segment_source_tests::{
    process::root,
    results::{Durability, Results, Row, Scenario, chart, page},
};

use crate::{
    peer::Peer,
    search::{Case, Pace, say},
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
    let peers: Vec<_> = peer::all()?.into_iter().filter(|peer| args.wants(peer)).collect();
    anyhow::ensure!(!peers.is_empty(), "there is no system of that name in tests/peers");
    if !args.installed {
        install(&peers)?;
    }
    let into = if args.quick { &work } else { &committed };
    let mut results = Results {
        machine: machine::describe(&work)?,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        rows: Vec::new(),
    };
    let before = match into.join("results.json").exists() {
        true => read(into)?.rows,
        false => Vec::new(),
    };
    let sink = Sink::start()?;
    let pace = if args.quick { Pace::QUICK } else { Pace::FULL };
    for peer in &peers {
        for durability in compared(peer) {
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
    if !args.only.is_empty() {
        let measured: Vec<String> = results.rows.iter().map(|row| row.system.clone()).collect();
        let others = before.into_iter().filter(|row: &Row| !measured.contains(&row.system));
        results.rows.extend(others);
    }
    results
        .rows
        .sort_by_key(|row| (row.durability, row.scenario, !row.is_ours(), row.system.clone()));
    write(into, &results)?;
    page::print(&results, &mut std::io::stdout().lock())?;
    Ok(())
}

impl Args {
    fn wants(&self, peer: &Peer) -> bool {
        self.only.is_empty() || self.only.contains(&peer.name)
    }
}

/// What of a system is compared: `none` only where there is nothing else.
fn compared(peer: &Peer) -> Vec<Durability> {
    let kept = |one: &&Durability| **one != Durability::None;
    let durable: Vec<_> = peer.durability.iter().filter(kept).copied().collect();
    if durable.is_empty() { peer.durability.clone() } else { durable }
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
    let file = |name: &str| -> PathBuf { folder.join(name) };
    fs::write(file("results.md"), page::render(results))?;
    fs::write(file("results.svg"), chart::render(results))?;
    Ok(())
}
