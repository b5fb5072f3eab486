//! What is published of the comparison with other systems: its form, and that page and chart are made of
//! the numbers that are committed.

use std::fs;

use segment_source_tests::{
    process::root,
    results::{Durability, Machine, Ratio, Results, Row, Scenario, chart, page, ratios},
};
use serde_json::json;

fn row(system: &str, max_rate: u64, cpu_s_per_million: f64) -> Row {
    Row {
        max_rate,
        cpu_s_per_million,
        p50_ms: 0.61,
        p99_ms: 41.5,
        p999_ms: 60.0,
        rss_mb: 80.25,
        sent: 6 * max_rate,
        acked: 5 * max_rate,
        ack_rate: max_rate,
        gate: "passed".into(),
        note: "As it comes.".into(),
        ..Row::failed(system, "1.2.3", Durability::Fsync, Scenario::Mixed)
    }
}

/// Ours, one that is slower, one that is wrong, and one that did not start.
fn few() -> Results {
    let machine = Machine {
        cpu: "A processor".into(),
        cores: 2,
        memory_gib: 8,
        kernel: "Linux 6.1".into(),
        fsync_ms: [1.5, 4.0],
    };
    let broken = Row {
        max_rate: 0,
        gate: "could not be measured: it ended".into(),
        ..row("Broken & <odd>", 0, 0.0)
    };
    let wrong = Row { lost: 3, duplicated: 1, ..row("Forgetful", 90_000, 1.0) };
    let rows = vec![
        row("segment-source (embedded)", 40_000, 50.0),
        row("Slow", 2_500, 400.0),
        wrong,
        broken,
    ];
    Results { machine, date: "2026-03-02".into(), rows }
}

#[test]
fn others_rely_on_these_names() {
    let mut results = few();
    results.rows.truncate(1);
    let expected = json!({
        "machine": {
            "cpu": "A processor", "cores": 2, "memory_gib": 8, "kernel": "Linux 6.1",
            "fsync_ms": [1.5, 4.0],
        },
        "date": "2026-03-02",
        "rows": [{
            "system": "segment-source (embedded)", "version": "1.2.3", "durability": "fsync",
            "scenario": "mixed", "max_rate": 40_000, "p50_ms": 0.61, "p99_ms": 41.5, "p999_ms": 60.0,
            "cpu_s_per_million": 50.0, "rss_mb": 80.25, "sent": 240_000, "acked": 200_000, "lost": 0,
            "duplicated": 0, "wrong_status": 0, "mislabelled": 0, "ack_rate": 40_000,
            "delivered_rate": 0, "drain_s": 0.0, "on_the_way": [0, 0, 0], "gate": "passed",
            "note": "As it comes.",
        }],
    });
    assert_eq!(serde_json::to_value(&results).expect("JSON"), expected);
    let back: Results = serde_json::from_value(expected).expect("results");
    assert_eq!(back, results);
}

#[test]
fn only_those_that_did_their_job_are_a_measure() {
    let ratio = Ratio {
        ours: "segment-source (embedded)".into(),
        fastest: "Slow".into(),
        rate: 16.0,
        leanest: "Slow".into(),
        cpu: 8.0,
    };
    assert_eq!(ratios(&few(), Durability::Fsync, Scenario::Mixed), [ratio]);
    assert_eq!(ratios(&few(), Durability::Everysec, Scenario::Mixed), []);
}

#[test]
fn marks_tell_what_is_wrong() {
    let mark =
        |max_rate, gate: &str| Row { gate: gate.into(), ..row("Slow", max_rate, 1.0) }.mark();
    assert_eq!(mark(1, "passed"), None);
    assert_eq!(mark(0, "passed"), Some("no rate was held".into()));
    assert_eq!(mark(0, "could not be measured"), Some("could not be measured".into()));
}

#[test]
fn tables_have_every_row() {
    let mut text = Vec::new();
    page::print(&few(), &mut text).expect("it is written");
    let expected = "
## Synced before the answer (`fsync`)

`mixed`: one event in ten is delivered

|                           |  per s |  acked | p50 ms | p99 ms | p99.9 | CPU s | MiB |    sent | lost | twice | mark                            |
| ------------------------- | -----: | -----: | -----: | -----: | ----: | ----: | --: | ------: | ---: | ----: | ------------------------------- |
| Forgetful                 | 90,000 | 90,000 |    0.6 |   41.5 |  60.0 |     1 |  80 | 540,000 |    3 |     1 | 3 lost, 1 delivered twice       |
| segment-source (embedded) | 40,000 | 40,000 |    0.6 |   41.5 |  60.0 |    50 |  80 | 240,000 |    0 |     0 |                                 |
| Slow                      |  2,500 |  2,500 |    0.6 |   41.5 |  60.0 |   400 |  80 |  15,000 |    0 |     0 |                                 |
| Broken & <odd>            |      - |      0 |      - |      - |     - |     - |   - |       - |    - |     - | could not be measured: it ended |

## Against the best of the others

|                           | durability | scenario | highest rate | CPU for a million   |
| ------------------------- | ---------- | -------- | -----------: | ------------------- |
| segment-source (embedded) | fsync      | mixed    |  16.0 x Slow | 8.0 x less than Slow |
";
    let text = String::from_utf8(text).expect("UTF-8");
    let squeezed = |text: &str| text.lines().map(squeeze).collect::<Vec<_>>();
    assert_eq!(squeezed(&text), squeezed(expected), "{text}");
}

/// A line without what aligns it.
fn squeeze(line: &str) -> String {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    cells.join("|").replace("--", "-").replace("--", "-").replace("--", "-").replace("--", "-")
}

#[test]
fn bars_are_as_long_as_rates() {
    let chart = chart::render(&few());
    let after = chart.split_once("</style>\n").expect("it has a style").1;
    let expected = r#"<text x="16" y="32" class="title">Highest rate at the same job</text>
<text x="16" y="54" class="small">Events a second with p99 of the answer at most 50 ms; 2 cores with everything on them, 2026-03-02</text>
<text x="16" y="92" class="panel">One event in ten is delivered, synced before the answer</text>
<text x="260" y="119" text-anchor="end">Forgetful</text>
<rect class="other" x="270" y="105" width="470.0" height="19" rx="2"/>
<text x="748" y="119">90,000 <tspan class="mark">(not right: see the table)</tspan></text>
<text x="260" y="145" text-anchor="end">segment-source (embedded)</text>
<rect class="ours" x="270" y="131" width="208.9" height="19" rx="2"/>
<text x="487" y="145">40,000</text>
<text x="260" y="171" text-anchor="end">Slow</text>
<rect class="other" x="270" y="157" width="13.1" height="19" rx="2"/>
<text x="292" y="171">2,500</text>
<text x="260" y="197" text-anchor="end">Broken &amp; &lt;odd&gt;</text>
<rect class="other" x="270" y="183" width="1.5" height="19" rx="2"/>
<text x="280" y="197">none <tspan class="mark">(see the table)</tspan></text>
</svg>
"#;
    assert_eq!(after, expected);
}

/// After a change of page or chart: `cargo run -p segment-source-tests --bin contest -- --render`.
#[test]
fn what_is_committed_is_made_of_the_numbers() {
    let folder = root().join("docs/benchmarks");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let results: Results = serde_json::from_str(&read("results.json")).expect("results");
    for (system, durability) in [
        ("segment-source (embedded)", Durability::Fsync),
        ("segment-source (redis)", Durability::Fsync),
        ("segment-source (redis)", Durability::Everysec),
    ] {
        for scenario in [Scenario::Mixed, Scenario::Mapped] {
            let here = |row: &&Row| {
                row.system == system && row.durability == durability && row.scenario == scenario
            };
            let found: Vec<_> = results.rows.iter().filter(here).collect();
            assert_eq!(found.len(), 1, "{system} {durability} {scenario}");
            assert_eq!(found[0].gate, "passed", "{system} {durability} {scenario}");
            assert!(found[0].max_rate > 0, "{system} {durability} {scenario} held no rate");
        }
    }
    assert_eq!(read("results.md"), page::render(&results));
    assert_eq!(read("results.svg"), chart::render(&results));
}

#[test]
fn our_version_is_told() {
    let path = root().join("tests/peers/segment-source/spec.json");
    let text = fs::read_to_string(path).expect("a spec");
    let spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(spec["versions"]["segment-source"], env!("CARGO_PKG_VERSION"));
}
