//! The highest rates as a bar chart, `docs/benchmarks/results.svg`: readable at the width of a README,
//! on light and dark ground.

use std::fmt::Write as _;

use super::{Durability, Results, Row, Scenario, group, page::thousands};

const WIDTH: u32 = 880;
/// Where bars begin, and how long the longest is; its number stands behind it.
const BAR: (u32, u32) = (270, 470);
const LINE: u32 = 26;

const PANELS: [(Scenario, Durability, &str); 4] = [
    (Scenario::Mixed, Durability::Fsync, "One event in ten is delivered, synced before the answer"),
    (Scenario::Mixed, Durability::Everysec, "One event in ten is delivered, synced every second"),
    (Scenario::Mapped, Durability::Fsync, "Every event is delivered, synced before the answer"),
    (Scenario::Mapped, Durability::Everysec, "Every event is delivered, synced every second"),
];

const STYLE: &str = "\
    text { font: 15px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
    .title { font-size: 19px; font-weight: 600 }
    .panel { font-weight: 600 }
    .small { font-size: 13px; fill: #59636e }
    .mark { fill: #b35900 }
    .ours { fill: #0969da }
    .other { fill: #8c959f }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .small { fill: #9198a1 }
      .mark { fill: #e3a04f }
      .ours { fill: #4493f8 }
      .other { fill: #656c76 }
    }";

/// The chart.
#[must_use]
pub fn render(results: &Results) -> String {
    let mut body = String::new();
    let cores = results.machine.cores;
    let under = format!(
        "Events a second with p99 of the answer at most 50 ms; {cores} cores with everything on them, {}",
        results.date
    );
    text(&mut body, 16, 32, "title", "Highest rate at the same job");
    text(&mut body, 16, 54, "small", &under);
    let most = results.rows.iter().map(|row| row.max_rate).max().unwrap_or_default().max(1);
    let mut y = 70;
    for (scenario, durability, title) in PANELS {
        let rows = group(results, durability, scenario);
        if rows.is_empty() {
            continue;
        }
        text(&mut body, 16, y + 22, "panel", title);
        y += 32;
        for row in rows {
            bar(&mut body, y, row, most);
            y += LINE;
        }
        y += 10;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         height=\"{y}\" role=\"img\">\n<title>Highest rate at the same job</title>\n<style>\n{STYLE}\n</style>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, y: u32, row: &Row, most: u64) {
    let (begin, longest) = BAR;
    let width = (row.max_rate as f64 / most as f64 * f64::from(longest)).max(1.5);
    let class = if row.is_ours() { "ours" } else { "other" };
    let at = y + 17;
    _ = writeln!(
        body,
        "<text x=\"{}\" y=\"{at}\" text-anchor=\"end\">{}</text>",
        begin - 10,
        escaped(&row.system)
    );
    _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{begin}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\"/>",
        y + 3,
        LINE - 7
    );
    let x = begin + width.ceil() as u32 + 8;
    let (number, mark) = match (row.max_rate, row.mark()) {
        (0, _) => ("none".to_owned(), " <tspan class=\"mark\">(see the table)</tspan>"),
        (rate, Some(_)) => {
            (thousands(rate), " <tspan class=\"mark\">(not right: see the table)</tspan>")
        }
        (rate, None) => (thousands(rate), ""),
    };
    _ = writeln!(body, "<text x=\"{x}\" y=\"{at}\">{number}{mark}</text>");
}

fn text(body: &mut String, x: u32, y: u32, class: &str, what: &str) {
    _ = writeln!(body, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escaped(what));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
