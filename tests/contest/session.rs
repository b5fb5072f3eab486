//! All processes of a session, found in /proc: what they cost, and ending them. A system under test is
//! started in a session of its own, so that whatever it starts counts as its own.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::signal::unix::{SignalKind, signal as arrival};

/// The session that was started last.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A session; its leader's process id is its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session(pub(crate) u32);

struct Process {
    pid: u32,
    /// Clock ticks of the process and of its children that ended.
    ticks: u64,
}

/// Ends this process when it is told to, and the session of [`Session::ends_with_us`] before: a
/// terminal's Ctrl-C does not reach it.
pub(crate) async fn end_when_told() -> anyhow::Result<()> {
    let (mut interrupted, mut terminated) =
        (arrival(SignalKind::interrupt())?, arrival(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    let last = LAST.load(Ordering::Relaxed);
    if last > 0 {
        Session(last).end(Duration::from_secs(5));
    }
    std::process::exit(130)
}

impl Session {
    /// It is the one to end when this process is told to end.
    pub(crate) fn ends_with_us(self) {
        LAST.store(self.0, Ordering::Relaxed);
    }

    fn processes(self) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| self.process(pid)).collect()
    }

    fn process(self, pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; the state is the first field after it.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let ended = fields.first() == Some(&"Z");
        (number(3)? == u64::from(self.0) && !ended || pid == self.0).then_some(())?;
        let ticks = (11..15).filter_map(number).sum();
        Some(Process { pid, ticks })
    }

    /// User and system time of all of them so far, in seconds.
    pub(crate) fn cpu_seconds(self) -> f64 {
        let ticks: u64 = self.processes().iter().map(|process| process.ticks).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Memory of all of them in bytes; what several share counts once.
    pub(crate) fn memory(self) -> u64 {
        self.processes().iter().filter_map(|process| proportional(process.pid)).sum()
    }

    /// Ends it as a service manager does: the leader is asked, and what is left after a while killed.
    pub(crate) fn end(self, patience: Duration) {
        let end = Instant::now() + patience;
        signal(self.0, Signal::TERM);
        while self.is_alive() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        for process in self.processes() {
            signal(process.pid, Signal::KILL);
        }
    }

    fn is_alive(self) -> bool {
        let living = |process: &Process| {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
            let zombie = fs::read_to_string(format!("/proc/{}/stat", process.pid))
                .is_ok_and(|stat| stat.contains(") Z "));
            !zombie && pid.is_some_and(|pid| test_kill_process(pid).is_ok())
        };
        self.processes().iter().any(living)
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Whoever is gone needs no signal.
        _ = kill_process(pid, signal);
    }
}

fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
