//! The results as a page for people, `docs/benchmarks/results.md`, and as a table for those who wait.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use super::{Durability, Machine, Results, Row, Scenario, group, ratios};

const CLASSES: [(Durability, &str); 2] = [
    (Durability::Fsync, "Synced before the answer (`fsync`)"),
    (Durability::Everysec, "Synced within about a second (`everysec`)"),
];

const SCENARIOS: [(Scenario, &str); 2] = [
    (Scenario::Mixed, "`mixed`: one event in ten is delivered"),
    (Scenario::Mapped, "`mapped`: every event is delivered"),
];

const MEASURED: &str = "\
Every system does the same job: it checks the HMAC-SHA1 of each request's bytes (1 % are wrong: 401),
makes the event durable before it answers 2xx, drops repeats of a `messageId` for 24 hours (0.6 % are
some), maps `identify` and `Order Completed`, and posts what comes of them as JSON to an endpoint that
keeps connections, answers after 5 ms, and refuses 1 % of first attempts with 503. Events are 1 KiB, from
10,000 users. `mixed` has 5 % of each mapped kind, `mapped` has half of each.

Generator and endpoint run on the same machine, one thread each. The generator keeps 128 connections and
is an open loop: requests are due at fixed times, and latency counts from then. Before anything else a
gate looks whether the system is right. Then a closed loop tells where to begin, and loads of 3 s look
for the highest rate at which p99 is at most 50 ms, every status is the right one, and everything is
delivered within twice the load's time (at least 6 s) after it; a rate at which only p99 was too high, and below 200 ms, is tried again,
twice in a search. Figures are of one more load of 6 s at that rate. Every delivery is compared with its
event, value by value.

*per s* is that rate, and *acked* the highest that held if deliveries are left out. *CPU s* is user and
system time, in seconds, of all processes of the system until the last delivery, for a million requests.
*MiB* is the memory of those processes together at the end of the load, shared pages counted once. *sent*
counts requests, *lost* events that were answered 2xx and had to be delivered and were not, *twice*
deliveries beyond the first of an event. *mark* tells what a system lost, repeated or got wrong, or that
it held no rate; such a row counts in no ratio.

No Redis, ours or that of others, writes its append-only file anew during a measurement
(`auto-aof-rewrite-min-size 64gb`): with its default of 64 MB, one that takes 10 MB a second does so every few
seconds, and forks each time. These figures leave that out; [redis.md](../redis.md) says how to make it rare.

`tests/bench --peers` does all of this; see [tests/README.md](../../tests/README.md). Compare figures of
one run: between machines only ratios mean something.
";

/// The page.
#[must_use]
pub fn render(results: &Results) -> String {
    let Results { machine, date, .. } = results;
    let Machine { cpu, cores, memory_gib, kernel, fsync_ms: [median, p99] } = machine;
    let mut page = format!(
        "# The same job, done by others\n\n\
         Measured until {date} with {cores} cores ({cpu}), {memory_gib} GiB, {kernel}; a synced write of 4 KiB \
         takes {median} ms (p99 {p99} ms). Written by `contest --render`.\n\n\
         ![Highest rates](results.svg)\n"
    );
    page += &comparison(results);
    page += &tables(results);
    page += &format!("\n## How it was measured\n\n{MEASURED}\n## Who took part\n\n");
    let mut seen = BTreeMap::new();
    for row in &results.rows {
        seen.entry((!row.is_ours(), &row.system)).or_insert((&row.version, &row.note));
    }
    for ((_, system), (version, note)) in seen {
        _ = writeln!(page, "- **{system}** ({version}). {note}");
    }
    page
}

/// The tables alone.
///
/// # Errors
/// When they cannot be written.
pub fn print(results: &Results, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{}{}", tables(results), comparison(results))
}

fn comparison(results: &Results) -> String {
    let mut lines = Vec::new();
    for (durability, _) in CLASSES {
        for (scenario, _) in SCENARIOS {
            for ratio in ratios(results, durability, scenario) {
                lines.push(vec![
                    ratio.ours,
                    durability.to_string(),
                    scenario.to_string(),
                    format!("{:.1} x {}", ratio.rate, ratio.fastest),
                    format!("{:.1} x less than {}", ratio.cpu, ratio.leanest),
                ]);
            }
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let head = ["", "durability", "scenario", "highest rate", "CPU for a million"];
    format!("\n## Against the best of the others\n\n{}", table(&head, &lines, 3))
}

fn tables(results: &Results) -> String {
    let mut all = String::new();
    for (durability, class) in CLASSES {
        let scenarios =
            SCENARIOS.map(|(scenario, title)| (group(results, durability, scenario), title));
        if scenarios.iter().all(|(rows, _)| rows.is_empty()) {
            continue;
        }
        _ = write!(all, "\n## {class}\n");
        for (rows, title) in scenarios.into_iter().filter(|(rows, _)| !rows.is_empty()) {
            let head = [
                "", "per s", "acked", "p50 ms", "p99 ms", "p99.9", "CPU s", "MiB", "sent", "lost",
                "twice", "mark",
            ];
            let lines: Vec<_> = rows.into_iter().map(line).collect();
            _ = write!(all, "\n{title}\n\n{}", table(&head, &lines, 1));
        }
    }
    all
}

fn line(row: &Row) -> Vec<String> {
    let measured = |text: String| if row.max_rate > 0 { text } else { "-".to_owned() };
    vec![
        row.system.clone(),
        measured(thousands(row.max_rate)),
        thousands(row.ack_rate),
        measured(format!("{:.1}", row.p50_ms)),
        measured(format!("{:.1}", row.p99_ms)),
        measured(format!("{:.1}", row.p999_ms)),
        measured(format!("{:.0}", row.cpu_s_per_million)),
        measured(format!("{:.0}", row.rss_mb)),
        measured(thousands(row.sent)),
        measured(row.lost.to_string()),
        measured(row.duplicated.to_string()),
        row.mark().unwrap_or_default(),
    ]
}

/// With commas between groups of three digits.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table whose first columns are text and whose others are numbers, but for the last.
fn table(head: &[&str], lines: &[Vec<String>], texts: usize) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.chain([head[column].len(), 3]).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let left = |column: usize| column < texts || column + 1 == head.len();
    let mut text = String::new();
    let mut write = |cells: Vec<String>| {
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            _ = match left(column) {
                true => write!(text, "| {cell:<width$} "),
                false => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
    };
    write(head.iter().map(|&cell| cell.to_owned()).collect());
    let rule = |column: usize| match left(column) {
        true => "-".repeat(widths[column]),
        false => "-".repeat(widths[column] - 1) + ":",
    };
    write((0..head.len()).map(rule).collect());
    lines.iter().for_each(|line| write(line.clone()));
    text
}
