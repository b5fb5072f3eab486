//! What was measured, as a table or as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{Args, run::Measured};

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
}

/// One measurement. Latencies in microseconds, memory in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    count: u64,
    errors: u64,
    seconds: f64,
    pub(crate) per_second: f64,
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    server_cpu_micros_each: f64,
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
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn errors(&self) -> u64 {
        self.rows.iter().map(|row| row.errors).sum()
    }

    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            serde_json::to_writer_pretty(&mut out, self)?;
            writeln!(out)?;
            return Ok(());
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let millis = |micros: u64| micros as f64 / 1000.0;
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
        Ok(())
    }
}
