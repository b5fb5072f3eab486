//! All processes of a system under test, found in /proc: what they cost, and ending them. A system is
//! started in a session of its own, so that whatever it starts counts as its own; what leaves the
//! session, as PostgreSQL's processes do, is known by who started it.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal as arrival};

/// The session that was started last.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A session; its leader's process id is its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session(pub(crate) u32);

#[derive(Clone, Debug)]
struct Process {
    pid: u64,
    parent: u64,
    session: u64,
    ended: bool,
    /// Clock ticks of the process and of its children that ended.
    ticks: u64,
    /// Tells it from a later one with the same id.
    began: u64,
}

impl Process {
    fn read(pid: u64) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; the state is the first field after it.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: number(1)?,
            session: number(3)?,
            ended: fields.first() == Some(&"Z"),
            ticks: (11..15).filter_map(number).sum(),
            began: number(19)?,
        })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // Whoever is gone needs no signal.
            _ = kill_process(pid, signal);
        }
    }

    fn still_runs(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.began == self.began && !now.ended)
    }
}

/// From now on ends this process when it is told to, and the session of [`Session::ends_with_us`] before:
/// a terminal's Ctrl-C does not reach it. A thread of its own waits for that.
pub(crate) fn end_when_told() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupted, mut terminated) = {
        let _entered = runtime.enter();
        (arrival(SignalKind::interrupt())?, arrival(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        });
        let last = LAST.load(Ordering::Relaxed);
        if last > 0 {
            Session(last).end(Duration::from_secs(5));
        }
        std::process::exit(130)
    })?;
    Ok(())
}

impl Session {
    /// It is the one to end when this process is told to end.
    pub(crate) fn ends_with_us(self) {
        LAST.store(self.0, Ordering::Relaxed);
    }

    /// Those in the session, and whoever descends from them.
    fn processes(self) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let (mut found, mut others): (Vec<_>, Vec<_>) = pids
            .filter_map(Process::read)
            .partition(|process| process.session == u64::from(self.0));
        loop {
            let of_found = |it: &Process| found.iter().any(|parent| parent.pid == it.parent);
            let (children, rest): (Vec<_>, _) = others.into_iter().partition(of_found);
            if children.is_empty() {
                return found;
            }
            found.extend(children);
            others = rest;
        }
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
        let all = self.processes();
        all.iter().filter(|it| it.pid == u64::from(self.0)).for_each(|it| it.signal(Signal::TERM));
        while all.iter().any(Process::still_runs) && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        let left = all.into_iter().chain(self.processes());
        left.filter(Process::still_runs).for_each(|it| it.signal(Signal::KILL));
    }
}

fn proportional(pid: u64) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
