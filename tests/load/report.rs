//! What was measured, as a table or as JSON.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Args, deliver::threads, run::Measured};

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    event_bytes: u32,
    connections: u32,
    ready_millis: u64,
    idle_memory: u64,
    pub(crate) peak_memory: u64,
    pub(crate) clean_exit: bool,
    rows: Vec<Row>,
    comparisons: Vec<Comparison>,
    /// By measurement: microseconds of CPU time that each kind of thread took for an event.
    threads: Vec<(String, BTreeMap<String, f64>)>,
    /// Load averages of the machine at the begin and at the end.
    load_averages: [String; 2],
}

/// Two variants, measured in turns.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    name: String,
    with: f64,
    without: f64,
    /// Of the medians.
    ratio: f64,
    /// Of each round.
    ratios: Vec<f64>,
}

impl Comparison {
    pub(crate) fn new(name: &str, with: &[f64], without: &[f64]) -> Self {
        let ratios = with.iter().zip(without).map(|(with, without)| with / without).collect();
        let (with, without) = (median(with), median(without));
        Self { name: name.to_owned(), with, without, ratio: with / without, ratios }
    }
}

fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// One measurement. Latencies in microseconds, memory in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    pub(crate) count: u64,
    errors: u64,
    seconds: f64,
    pub(crate) per_second: f64,
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    pub(crate) server_cpu_micros_each: f64,
    memory: u64,
}

impl Row {
    pub(crate) fn new(name: &str, measured: Measured, cpu_micros: u64, memory: u64) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let count = measured.count.max(1) as f64;
        let at = |quantile| measured.latency.value_at_quantile(quantile);
        Self {
            name: name.to_owned(),
            count: measured.count,
            errors: measured.errors,
            seconds,
            per_second: measured.count as f64 / seconds.max(1e-9),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: measured.latency.max(),
            server_cpu_micros_each: cpu_micros as f64 / count,
            memory,
        }
    }

    /// How old events were when they were delivered, of those that a measurement has sent.
    pub(crate) fn of_delays(name: &str, delays: &Histogram<u64>, sent: &Self) -> Self {
        let at = |quantile| delays.value_at_quantile(quantile);
        Self {
            name: name.to_owned(),
            count: delays.len(),
            errors: sent.errors,
            seconds: sent.seconds,
            per_second: delays.len() as f64 / sent.seconds.max(1e-9),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: delays.max(),
            server_cpu_micros_each: sent.server_cpu_micros_each,
            memory: sent.memory,
        }
    }
}

impl Report {
    pub(crate) fn new(ready: Duration, idle_memory: u64, args: &Args) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            event_bytes: args.size,
            connections: args.connections,
            ready_millis: u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
            idle_memory,
            peak_memory: 0,
            clean_exit: false,
            rows: Vec::new(),
            comparisons: Vec::new(),
            threads: Vec::new(),
            load_averages: [load_average(), String::new()],
        }
    }

    /// Of several programs, which are started and ended on the way.
    pub(crate) fn of_deliveries(args: &Args) -> Self {
        Self::new(Duration::ZERO, 0, args)
    }

    pub(crate) fn compare(&mut self, comparison: Comparison) {
        self.comparisons.push(comparison);
    }

    /// What the threads of a process took since `before`, for each event.
    pub(crate) fn spent(
        &mut self,
        name: &str,
        before: &BTreeMap<String, u64>,
        pid: u32,
        measured: &Measured,
    ) {
        let tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        let each = threads(pid).into_iter().map(|(thread, ticks)| {
            let ticks = ticks.saturating_sub(before.get(&thread).copied().unwrap_or_default());
            (thread, ticks as f64 * tick / measured.count.max(1) as f64)
        });
        self.threads.push((name.to_owned(), each.filter(|(_, micros)| *micros >= 0.05).collect()));
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn errors(&self) -> u64 {
        self.rows.iter().map(|row| row.errors).sum()
    }

    pub(crate) fn print(&mut self, as_json: bool) -> anyhow::Result<()> {
        self.load_averages[1] = load_average();
        let mut out = io::stdout().lock();
        if as_json {
            serde_json::to_writer_pretty(&mut out, self)?;
            writeln!(out)?;
            return Ok(());
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let millis = |micros: u64| micros as f64 / 1000.0;
        let [begin, end] = &self.load_averages;
        writeln!(out, "load averages {begin} at the begin, {end} at the end")?;
        writeln!(
            out,
            "{} cores with the generator on them, events of {} bytes, {} connections, fsync on\n\
             ready after {} ms, memory idle {:.1} MiB, at most {:.1} MiB, clean exit: {}\n",
            self.cores,
            self.event_bytes,
            self.connections,
            self.ready_millis,
            mib(self.idle_memory),
            mib(self.peak_memory),
            self.clean_exit,
        )?;
        writeln!(
            out,
            "{:<30} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7}",
            "", "count", "per s", "p50 ms", "p99 ms", "p99.9", "max", "CPU µs", "RSS MiB", "errors"
        )?;
        for row in &self.rows {
            writeln!(
                out,
                "{:<30} {:>9} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.1} {:>9.1} {:>7}",
                row.name,
                row.count,
                row.per_second,
                millis(row.p50),
                millis(row.p99),
                millis(row.p999),
                millis(row.max),
                row.server_cpu_micros_each,
                mib(row.memory),
                row.errors,
            )?;
        }
        for Comparison { name, with, without, ratio, ratios } in &self.comparisons {
            let each: Vec<_> = ratios.iter().map(|it| format!("{it:.2}")).collect();
            let each = each.join(" ");
            writeln!(out, "\n{name}\n    {with:.1} to {without:.1}: {ratio:.2} (rounds: {each})")?;
        }
        for (name, threads) in &self.threads {
            let each: Vec<_> =
                threads.iter().map(|(name, micros)| format!("{name} {micros:.1}")).collect();
            writeln!(out, "CPU µs by thread, {name}: {}", each.join(", "))?;
        }
        Ok(())
    }
}
