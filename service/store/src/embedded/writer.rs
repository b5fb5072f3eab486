//! The one thread that writes: commands into groups, and the way back after the engine failed. What
//! becomes of a group is in [`super::group`].

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use fjall::PersistMode;
use segment_source_core::event::EventId;
use tokio::sync::mpsc;

use super::{
    OpenError, Options,
    command::Command,
    engine::Engine,
    group,
    leases::Leases,
    numbers::Numbers,
    settle::{self, Lost},
    shared::Shared,
    space::FreeSpace,
    txn::Txn,
};
use crate::{contract::Clock, fault::Fault};

/// Commands that may wait.
pub(super) const WAITING: usize = 1024;
/// Bounds of a group, which the last command may exceed.
const GROUP_COMMANDS: usize = 1024;
/// As [`GROUP_COMMANDS`], in bytes.
const GROUP_BYTES: usize = 4 << 20;
/// While leases are open, the clock is asked at least this often: it may be moved.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);
/// Between attempts to open a failed engine again. The first pause also lets the engine's own
/// threads, which nobody can join, let go of its files.
const REOPEN_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// For how long closing waits for reads that are under way.
const LAST_READS: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    options: Options,
    free: FreeSpace,
    state: State,
}

enum State {
    Open(Box<Open>),
    Failed(Failed),
}

/// The engine and what is in memory beside it; void as soon as the engine fails.
pub(super) struct Open {
    pub(super) engine: Arc<Engine>,
    pub(super) numbers: Numbers,
    pub(super) leases: Leases,
    /// Events without content that the planner may have read before it went.
    pub(super) erased: HashSet<EventId>,
}

struct Failed {
    why: Fault,
    /// Readers may still hold it.
    engine: Weak<Engine>,
    again: Instant,
    pause: Duration,
}

impl Open {
    fn new(engine: Arc<Engine>, lease_clock: &Clock) -> Result<Self, Fault> {
        let numbers = Numbers::load(&engine)?;
        let leases = Leases::new(lease_clock.clone());
        Ok(Self { engine, numbers, leases, erased: HashSet::new() })
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        engine: Arc<Engine>,
        commands: mpsc::Receiver<Command>,
        options: Options,
    ) -> Result<Self, Fault> {
        let state = State::Open(Box::new(Open::new(engine, &shared.lease_clock)?));
        Ok(Self { shared, commands, options, free: FreeSpace::default(), state })
    }

    /// Runs until it is closed or nobody can send commands any more.
    pub(super) fn run(mut self, timer: &tokio::runtime::Runtime) {
        loop {
            let Some((commands, closing)) = self.wait(timer) else { break };
            self.reopen_if_due();
            let Self { shared, options, free, state, .. } = &mut self;
            match state {
                State::Open(open) => {
                    // The engine has panics for what it takes for impossible. Everything such a
                    // one could leave half done is thrown away and read again.
                    let write = || group::write(open, shared, options, free, commands);
                    let done = catch_unwind(AssertUnwindSafe(write));
                    let panicked = |_| Err(Fault::Engine("the storage engine panicked".into()));
                    if let Err(fault) = done.unwrap_or_else(panicked) {
                        self.fail(fault);
                    }
                }
                State::Failed(Failed { why, .. }) => {
                    commands.into_iter().for_each(|command| command.refuse(why.clone().into()));
                }
            }
            if closing {
                self.give_leases_back();
                break;
            }
        }
        self.shut();
    }

    /// The commands that wait, and whether the last of them is to close; `None` when there can be
    /// no more. Comes back without any when a lease ends or the engine may be opened again.
    fn wait(&mut self, timer: &tokio::runtime::Runtime) -> Option<(Vec<Command>, bool)> {
        let timeout = match &self.state {
            State::Open(open) => open.leases.next_expiry().map(|left| left.min(LOOK_AT_CLOCK)),
            State::Failed(failed) => Some(failed.again.saturating_duration_since(Instant::now())),
        };
        let first = match timeout {
            None => self.commands.blocking_recv()?,
            Some(timeout) => {
                let next = async { tokio::time::timeout(timeout, self.commands.recv()).await };
                match timer.block_on(next) {
                    Ok(command) => command?,
                    Err(_) => return Some((Vec::new(), false)),
                }
            }
        };
        let mut bytes = first.bytes();
        let mut closing = matches!(first, Command::Close);
        let mut group = vec![first];
        while !closing && group.len() < GROUP_COMMANDS && bytes < GROUP_BYTES {
            let Ok(command) = self.commands.try_recv() else { break };
            bytes += command.bytes();
            closing = matches!(command, Command::Close);
            group.push(command);
        }
        Some((group, closing))
    }

    /// Lets go of the engine; whatever is in memory beside it is void.
    fn fail(&mut self, why: Fault) {
        tracing::error!(error = %why, "the store failed and will be opened again");
        self.shared.fail(why.clone());
        let (pause, _) = REOPEN_PAUSES;
        let engine = match &self.state {
            State::Open(open) => Arc::downgrade(&open.engine),
            State::Failed(failed) => failed.engine.clone(),
        };
        self.state = State::Failed(Failed { why, engine, again: Instant::now() + pause, pause });
    }

    fn reopen_if_due(&mut self) {
        let State::Failed(failed) = &mut self.state else { return };
        if Instant::now() < failed.again {
            return;
        }
        match self.reopen() {
            Ok(open) => {
                tracing::info!("the store is open again");
                self.shared.recovered(open.engine.clone());
                self.state = State::Open(Box::new(open));
            }
            Err(why) => {
                let State::Failed(failed) = &mut self.state else { return };
                tracing::warn!(error = %why, "the store cannot be opened again yet");
                failed.pause = (failed.pause * 2).min(REOPEN_PAUSES.1);
                failed.again = Instant::now() + failed.pause;
            }
        }
    }

    fn reopen(&self) -> Result<Open, OpenError> {
        if let State::Failed(failed) = &self.state
            && failed.engine.strong_count() > 0
        {
            return Err(OpenError::Locked { dir: self.shared.dir.clone() });
        }
        let engine = Engine::open(&self.shared.dir, &self.options, &self.shared.clock)?;
        let open =
            engine.flush().and_then(|()| Open::new(Arc::new(engine), &self.shared.lease_clock));
        open.map_err(|fault| OpenError::from_fault(&self.shared.dir, fault))
    }

    /// So that the attempts count.
    fn give_leases_back(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let now = (self.shared.clock)();
        let Open { engine, numbers, leases, .. } = &mut **open;
        let mut given_back = || -> Result<(), Fault> {
            let mut txn = Txn::new(engine);
            while let Some(token) = leases.any() {
                settle::lose(&mut txn, numbers, leases, now, token, Lost::Closing)?;
            }
            numbers.save(&mut txn);
            txn.commit(PersistMode::SyncData)?;
            engine.sync()
        };
        if let Err(fault) = given_back() {
            tracing::error!(error = %fault, "open leases could not be given back");
        }
    }

    /// Refuses what is still waiting, and gives the folder free.
    fn shut(self) {
        drop(self.commands);
        self.shared.close();
        let State::Open(open) = self.state else { return };
        let Open { engine, .. } = *open;
        let last = Arc::downgrade(&engine);
        let begun = Instant::now();
        drop(engine);
        while last.strong_count() > 0 && begun.elapsed() < LAST_READS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
