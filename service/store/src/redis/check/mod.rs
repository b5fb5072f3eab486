//! Whether a Redis is set up so that it keeps what it is given: what can be seen of it (`facts`),
//! what that means (`judge`, which asks nobody), and looking again while the program runs (`watch`).
//! Nothing here changes a setting.

mod facts;
mod judge;
mod parse;
mod watch;

use std::fmt;

use super::connect::{Trouble, words::Kind};
pub use facts::{Cluster, Facts, Kept, Seen, Server, gather};
pub use judge::judge;

pub use watch::{Health, INTERVAL, Metrics, watch};

/// Something that should be otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Which server; `None`: all of them together.
    pub at: Option<String>,
    /// What is wrong, and what may come of it.
    pub wrong: String,
    /// What to do, where there is something: a command for the server, or words.
    pub change: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not work, or loses what was accepted without anything failing.
    Error,
    /// It works, with less than it could have.
    Warning,
    /// It could not be seen, so somebody should look.
    Note,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A server cannot be asked.
    Unreachable,
    /// Older than what the store is written for.
    Version,
    /// Asked is a replica.
    Replica,
    /// A server of a cluster is used as if it were alone.
    ClusterAddress,
    /// The cluster does not serve.
    ClusterState,
    /// Slots that no server has.
    ClusterSlots,
    /// Data is thrown away when memory is short.
    Eviction,
    /// So much memory is used that nothing new is accepted.
    Memory,
    /// Memory has no limit.
    Maxmemory,
    /// No append-only file.
    AofOff,
    /// Writes are answered before they are synced.
    Fsync,
    /// Syncing pauses while the append-only file is written anew.
    FsyncRewrite,
    /// The append-only file cannot be written.
    AofFailing,
    /// After a restart transactions are missing.
    DefaultUser,
    /// Replicas that nobody waits for.
    MinReplicas,
    /// Clocks that differ.
    Clock,
    /// Hashes take more memory than they need to.
    Listpack,
    /// Something that this user or service does not show.
    Unseen,
}

impl Code {
    /// All there are.
    pub const ALL: [Self; 18] = [
        Self::Unreachable,
        Self::Version,
        Self::Replica,
        Self::ClusterAddress,
        Self::ClusterState,
        Self::ClusterSlots,
        Self::Eviction,
        Self::Memory,
        Self::Maxmemory,
        Self::AofOff,
        Self::Fsync,
        Self::FsyncRewrite,
        Self::AofFailing,
        Self::DefaultUser,
        Self::MinReplicas,
        Self::Clock,
        Self::Listpack,
        Self::Unseen,
    ];

    /// As it is written, also as the label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Version => "version",
            Self::Replica => "replica",
            Self::ClusterAddress => "cluster_address",
            Self::ClusterState => "cluster_state",
            Self::ClusterSlots => "cluster_slots",
            Self::Eviction => "eviction",
            Self::Memory => "memory",
            Self::Maxmemory => "maxmemory",
            Self::AofOff => "aof_off",
            Self::Fsync => "fsync",
            Self::FsyncRewrite => "fsync_rewrite",
            Self::AofFailing => "aof_failing",
            Self::DefaultUser => "default_user",
            Self::MinReplicas => "min_replicas",
            Self::Clock => "clock",
            Self::Listpack => "listpack",
            Self::Unseen => "unseen",
        }
    }
}

/// What a write that was answered has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It was synced, on every server.
    Synced,
    /// On some server it was not.
    Relaxed,
    /// What can be seen does not tell.
    Unknown,
}

impl Durability {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Synced, Self::Relaxed, Self::Unknown];

    /// As it is written, also as the label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Relaxed => "relaxed",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    /// What it means that a server cannot be asked.
    #[must_use]
    pub fn of(trouble: &Trouble) -> Self {
        let code = match trouble.kind() {
            Kind::IsCluster | Kind::NoCluster => Code::ClusterAddress,
            Kind::Old => Code::Version,
            _ => Code::Unreachable,
        };
        let (wrong, change) = (trouble.words(), trouble.change().to_owned());
        Self { code, severity: Severity::Error, at: None, wrong, change }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.wrong)?;
        match self.change.as_str() {
            "" => Ok(()),
            change => write!(f, "; change: {change}"),
        }
    }
}
