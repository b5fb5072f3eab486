//! Opening the store: settings, what can go wrong in words for people, and the start of the writer
//! thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::mpsc;

use super::{
    Handle, Store,
    engine::Engine,
    read,
    shared::Shared,
    writer::{self, Writer},
};
use crate::{contract::Clock, fault::Fault, fingerprint::Fingerprints};

/// Settings of the embedded store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Below this many free bytes on the file system no event is accepted; half of it is left for
    /// planning, and a quarter is not touched by settling either: below that nothing is given out.
    /// Default: 512 MiB, which is more than the engine's journals, unwritten tables and a
    /// compaction take together.
    pub reserve: u64,
    /// Bytes of blocks kept in memory to answer reads. Default: 16 MiB. Besides this the engine
    /// keeps what it has not yet written into tables: at most 64 MiB for each of log and actions,
    /// far less when idle.
    pub cache: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { reserve: 512 << 20, cache: 16 << 20 }
    }
}

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the store in `{}` is in use by another process: a folder belongs to one process at a \
         time; stop the other one, or give this one a folder of its own", dir.display()
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// Written by a later version of the program.
    #[error(
        "the store in `{}` has format {found}, this version reads up to {supported}: start the \
         version that wrote it, or a later one", dir.display()
    )]
    Newer {
        /// The folder.
        dir: PathBuf,
        /// What it has.
        found: u32,
        /// What this version can read.
        supported: u32,
    },
    /// Written by a version of the storage engine that this one cannot read.
    #[error(
        "the store in `{}` was written by another version of the storage engine: start the version \
         of the program that wrote it", dir.display()
    )]
    OtherEngine {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder or a file in it cannot be read or written.
    #[error(
        "the store in `{}` cannot be opened: {cause}; check that the folder may be written to and \
         that its disk works and is not full", dir.display()
    )]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said. No `source`: the message holds it, and who prints a chain of causes
        /// would say it twice.
        cause: std::io::Error,
    },
    /// The files are there but make no sense.
    #[error(
        "the store in `{}` is damaged: {detail}; restore the folder from a backup, or start with \
         an empty one", dir.display()
    )]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
}

impl OpenError {
    pub(super) fn from_engine(dir: &Path, error: fjall::Error) -> Self {
        let dir = dir.to_owned();
        match error {
            fjall::Error::Locked => Self::Locked { dir },
            fjall::Error::InvalidVersion(_) => Self::OtherEngine { dir },
            fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause)) => {
                Self::Io { dir, cause }
            }
            error => {
                tracing::error!(dir = %dir.display(), %error, "the storage engine cannot open");
                Self::Damaged {
                    dir,
                    detail: "the storage engine cannot read it, see the log".into(),
                }
            }
        }
    }

    pub(super) fn from_fault(dir: &Path, fault: Fault) -> Self {
        Self::Damaged { dir: dir.to_owned(), detail: fault.to_string() }
    }
}

impl Store {
    /// Opens or creates the store in `dir`. Blocks until what was written last is recovered, well
    /// under a second.
    ///
    /// # Errors
    /// When another process has the folder, a later version wrote it, or it cannot be read.
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let lease_clock = clock.clone();
        Self::open_with(dir, options, clock, lease_clock)
    }

    /// As [`Store::open`], with a clock of their own for the leases: one that nobody sets, so that
    /// a step of the other one ends no lease while the attempt that it stands for still runs.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        dir: &Path,
        options: Options,
        clock: Clock,
        lease_clock: Clock,
    ) -> Result<Self, OpenError> {
        let failed = |fault| OpenError::from_fault(dir, fault);
        let io = |cause| OpenError::Io { dir: dir.to_owned(), cause };
        let engine = Arc::new(Engine::open(dir, &options, &clock)?);
        let fingerprints = Fingerprints::new(engine.fingerprint_key().map_err(failed)?);
        let unplanned = read::unplanned_sources(&engine).map_err(failed)?;
        let shared = Arc::new(Shared::new(engine.clone(), clock, lease_clock, unplanned));
        let (commands, waiting) = mpsc::channel(writer::WAITING);
        let writer = Writer::new(shared.clone(), engine, waiting, options).map_err(failed)?;
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let timer = timer.map_err(io)?;
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || writer.run(&timer)).map_err(io)?;
        let writer = WriterThread(Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Handle { commands, writer, shared, fingerprints })))
    }
}

/// The writer thread; it never outlives its store.
pub(super) struct WriterThread(Mutex<Option<JoinHandle<()>>>);

impl WriterThread {
    /// Waits for its end; everybody who calls this at once does.
    pub(super) fn join(&self) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.join();
    }
}
