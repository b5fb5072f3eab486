//! Two variants of accepting in turns on one program: many sources beside one, large requests beside
//! small ones.

use clap::ValueEnum;
use segment_source_tests::{
    manifest::{signing_secret, source},
    process::memory,
    redis::Redis,
    site::Site,
    wait::eventually,
};
use serde_json::json;

use crate::{
    Args, launch, measured,
    report::{Comparison, Report},
    run::{self, Load},
};

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compare {
    /// Events of 10,000 sources, and of one.
    Sources,
    /// 100 events in each request, and one.
    Batches,
}

const SOURCES: u32 = 10_000;
/// As [`Load::name`] calls it.
const LAST: &str = "plain-09999";
const BATCH: u32 = 100;

/// Measures both, as often as there are rounds.
pub(crate) async fn run(
    compare: Compare,
    site: &Site,
    redis: Option<&Redis>,
    args: &Args,
) -> anyhow::Result<Report> {
    let arrays = json!({"verification": {"batches": {"policy": "WholeBody"}}});
    site.write("plain.yaml", &[signing_secret(), source("plain", arrays.clone())]);
    let mut server = launch(site, redis).start().await;
    let one = args.load(server.http, "plain");
    // Whatever the first load allocates belongs to no source.
    run::run(one).await?;
    let before = memory(server.pid()).0;
    let other = match compare {
        Compare::Batches => Load { batch: BATCH, ..one },
        Compare::Sources => {
            let names = (0..SOURCES).map(|number| Load::name("plain", number));
            let all: Vec<_> = names.map(|name| source(&name, arrays.clone())).collect();
            // A file has 1,024 documents at the most.
            for (number, some) in all.chunks(1000).enumerate() {
                site.write(&format!("many-{number}.yaml"), some);
            }
            let last = Load { source: LAST, connections: 1, most: 1, ..one };
            eventually("the last source is known", async || {
                run::run(last).await.is_ok_and(|it| it.errors == 0).then_some(())
            })
            .await;
            Load { sources: Some(SOURCES), ..one }
        }
    };
    let mut report = Report::new(std::time::Duration::ZERO, before, args);
    if compare == Compare::Sources {
        let each = memory(server.pid()).0.saturating_sub(before) as f64 / f64::from(SOURCES);
        let manifest = source(&Load::name("plain", 0), arrays).to_string().len() as f64;
        let what = "bytes of memory of a source, to those of its manifest as JSON";
        report.compare(Comparison::new(what, &[each], &[manifest]));
    }
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    let (few, many) = match compare {
        Compare::Sources => ("accept, one source", "accept, 10,000 sources"),
        Compare::Batches => ("accept, one in a request", "accept, 100 in a request"),
    };
    for _ in 0..args.rounds {
        for (load, rates, name) in [(one, &mut ones, few), (other, &mut others, many)] {
            let row = measured(name, &server, run::run(load)).await?;
            rates.push(row.per_second);
            report.add(row);
        }
    }
    let what = match compare {
        Compare::Sources => "events per second of 10,000 sources, to those of one source",
        Compare::Batches => "events per second with 100 in each request, to one",
    };
    report.compare(Comparison::new(what, &others, &ones));
    report.peak_memory = memory(server.pid()).1;
    server.terminate();
    report.clean_exit = server.ended().await.success();
    Ok(report)
}
