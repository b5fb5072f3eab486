//! What the machine is, and how long its disk takes to sync.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Instant,
};

use segment_source_tests::results::Machine;

/// Synced writes.
const WRITES: usize = 200;

pub(crate) fn describe(folder: &Path) -> anyhow::Result<Machine> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = field(&memory, "MemTotal").unwrap_or_default();
    let kib: u64 =
        kib.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    // What follows is the builder's.
    let release = text(system.release());
    let release = release.split('-').next().unwrap_or_default();
    Ok(Machine {
        cpu: field(&cpus, "model name").unwrap_or_else(|| text(system.machine())),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: (kib + (1 << 19)) >> 20,
        kernel: format!("{} {release}", text(system.sysname())),
        fsync_ms: syncs(folder)?,
    })
}

/// Median and p99 of a synced write, in milliseconds.
fn syncs(folder: &Path) -> anyhow::Result<[f64; 2]> {
    let path = folder.join("syncs");
    let mut file = File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.push((begun.elapsed().as_secs_f64() * 1e5).round() / 100.0);
    }
    fs::remove_file(path)?;
    took.sort_by(f64::total_cmp);
    Ok([took[WRITES / 2], took[WRITES * 99 / 100]])
}
