//! Configuration: what a role may rely on, and the way there. It comes from a folder of manifests,
//! which is read (`files`), kept at its last good state (`keeper`) and watched (`watch`, `folder`),
//! or from an operator over the network (`operator`). Both give snapshots, which are turned into
//! the tables of the roles (`live`). The meaning of a manifest is the crds crate's.

mod changes;
mod files;
mod findings;
pub mod folder;
mod keeper;
mod live;
mod memory;
pub mod operator;
mod replace;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use segment_source_core::source::SourceId;
use segment_source_proto::config::v1 as wire;
use segment_source_store::{Millis, system_clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use findings::{Finding, Severity};
pub use folder::Folder;
pub use live::{Applied, Live, Publisher, publish};
pub use operator::Operator;

/// For how long a removed source is answered 503 instead of 404: an hour.
pub const REMOVED_FOR: Millis = 60 * 60 * 1000;

/// All that is known of all sources at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Counts the snapshots of a provider that is told what became of each; 0 where nobody asks.
    pub version: u64,
    /// Whether there is something to serve: the folder was read at all, or the operator has told
    /// everything once, if need be to an earlier process that kept it. One manifest that cannot be
    /// read is no reason to wait: its sources answer 503, and all others are served.
    pub read: bool,
    /// Whether `sources` is complete. While it is not, a source that is not in it may exist.
    pub synced: bool,
    /// Namespaces of which nothing is known but what was known before: `sources` is never complete
    /// for them.
    pub unread: BTreeSet<String>,
    /// By identity.
    pub sources: BTreeMap<SourceId, State>,
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its newest good configuration.
    Loaded(Arc<wire::Source>),
    /// It exists, but has never been right.
    NotLoaded {
        /// What is wrong, for people.
        reason: String,
    },
    /// It was removed less than [`REMOVED_FOR`] ago.
    RecentlyRemoved,
}

/// Where configuration comes from.
pub enum Provider {
    /// A folder of manifests.
    Folder(Box<Folder>),
    /// An operator over the network.
    Operator(Box<Operator>),
}

impl Provider {
    /// What is known now, and whenever it changes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        match self {
            Self::Folder(folder) => folder.snapshots(),
            Self::Operator(operator) => operator.snapshots(),
        }
    }

    /// Follows it until `stop`. `applied` says what became of each snapshot.
    pub async fn run(self, applied: watch::Receiver<Applied>, stop: CancellationToken) {
        match self {
            Self::Folder(folder) => folder.run(stop).await,
            Self::Operator(operator) => operator.run(applied, stop).await,
        }
    }
}

/// Reads a folder once, for commands that need no server: its sources, and everything that is wrong
/// with it.
#[must_use]
pub fn read(folder: &Path) -> (Snapshot, Vec<Finding>) {
    let pass = keeper::Keeper::default().apply(files::look(folder).listing, system_clock()());
    (pass.snapshot, pass.findings)
}

/// Checks these files as if they were a folder of their own; gives the number of sources that are
/// right, and everything that is wrong.
#[must_use]
pub fn check(files: &[std::path::PathBuf]) -> (usize, Vec<Finding>) {
    let read = files.iter().map(|file| (file.display().to_string(), files::read(file)));
    let pass = keeper::Keeper::default().apply(Ok(read.collect()), system_clock()());
    let loaded = |state: &&State| matches!(state, State::Loaded(_));
    // Nothing is served here.
    let findings = pass.findings.into_iter().map(|it| Finding { consequence: None, ..it });
    (pass.snapshot.sources.values().filter(loaded).count(), findings.collect())
}
