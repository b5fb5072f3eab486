//! Our binaries and scripts, and what the system tells about a running process.

use std::{env, fs, path::PathBuf, process::Command};

/// The `segment-source` binary that was built beside the running test or benchmark.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    beside("segment-source")
}

/// A binary of ours that was built beside the running test or benchmark.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a process knows its file");
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("no {name} beside {}: run `cargo build --workspace` first", own.display())
    })
}

/// The repository's root.
///
/// # Panics
/// Never: this package lies in it.
#[must_use]
pub fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ has a parent").to_owned()
}

/// A script of the repository that builds with Cargo: it does not learn what Cargo has told the
/// running test about itself.
#[must_use]
pub fn script(path: &str) -> Command {
    let mut command = Command::new(root().join(path));
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command
}

/// Memory of a process that is in RAM now, and the most there ever was, in bytes.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// CPU time a process has used, user and system, in microseconds.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn cpu_micros(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
}
