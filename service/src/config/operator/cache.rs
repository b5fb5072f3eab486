//! What outlives a restart while the operator is away: the configuration in service, in a folder
//! that should be in memory, as the files hold secrets. One file a source; the names of sources
//! there are and were; and whose configuration it is.
//!
//! It is written behind what is in service, never before, and holds nothing that was refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message as _;
use segment_source_core::source::{SourceId, short_hash};
use segment_source_proto::config::v1 as wire;
use segment_source_store::Millis;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::told::Kept;
use crate::{
    args::Role,
    config::{
        Applied, State,
        memory::{Known, Memory},
        replace::{Outlives, replace},
    },
};

/// Ends the name of a source's file.
const ENDING: &str = "pb";

/// Whose configuration a cache holds. One of another operator says nothing here, and one of other
/// roles lacks a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    operator: String,
    role: String,
}

impl Owner {
    /// What the operator at this address tells a process of this role.
    pub(super) fn new(operator: &impl fmt::Display, role: Role) -> Self {
        Self { operator: operator.to_string(), role: role.name().to_owned() }
    }
}

/// What is kept beside the sources and their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    #[serde(flatten)]
    owner: Owner,
    /// The highest epoch there was.
    epoch: u64,
    /// Whether everything was told once.
    complete: bool,
}

/// A folder of kept configuration.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    about: About,
    /// Whether `about` is in its file.
    written: bool,
    /// What is in the files of sources.
    sources: BTreeMap<SourceId, Arc<wire::Source>>,
    memory: Memory,
    /// Whether the last attempt to write failed; said once.
    failing: bool,
}

impl Cache {
    /// Reads what an earlier process of this owner kept. What cannot be read is told and left out.
    pub(super) fn open(folder: &Path, owner: Owner) -> (Self, Kept) {
        let folder = folder.join("operator");
        let mut memory = Memory::new(&folder);
        let mut kept = Kept::default();
        let found = read_about(&folder.join("about.json"));
        let about = match &found {
            Some(about) if about.owner == owner => {
                kept.known = memory.load();
                kept.sources = read_sources(&folder.join("sources"));
                about.clone()
            }
            Some(About { owner: other, epoch, .. }) => {
                let (operator, role) = (&other.operator, &other.role);
                let folder = folder.display();
                info!("the cache in {folder} is of {operator} for role {role}: it is not used");
                // The same operator goes on counting; another one does not.
                let epoch = if other.operator == owner.operator { *epoch } else { 0 };
                About { owner, epoch, complete: false }
            }
            None => About { owner, epoch: 0, complete: false },
        };
        let written = found.as_ref() == Some(&about);
        (kept.epoch, kept.complete) = (about.epoch, about.complete);
        let sources = kept.sources.clone();
        (Self { folder, about, written, sources, memory, failing: false }, kept)
    }

    /// Makes the folder hold what is in service.
    pub(super) fn save(&mut self, applied: &Applied, beside: &Beside) {
        let result = self.write(applied, beside);
        match (&result, self.failing) {
            (Err(error), false) => warn!(
                "cannot write the cache in {}: {error}; until that is mended, a restart while the \
                 operator is away begins with older configuration, or none",
                self.folder.display()
            ),
            (Ok(()), true) => info!("the cache in {} is written again", self.folder.display()),
            _ => {}
        }
        self.failing = result.is_err();
    }

    fn write(&mut self, applied: &Applied, beside: &Beside) -> io::Result<()> {
        if !self.written {
            self.clear()?;
        }
        // Before anything of the epoch: what is in the cache is never newer than it says.
        self.write_about(About { epoch: beside.epoch, ..self.about.clone() })?;
        let now = &applied.snapshot.sources;
        let gone: Vec<SourceId> = self
            .sources
            .keys()
            .filter(|id| !matches!(now.get(id), Some(State::Loaded(_))))
            .cloned()
            .collect();
        for id in gone {
            remove(&self.file(&id))?;
            self.sources.remove(&id);
        }
        for (id, state) in now {
            let State::Loaded(source) = state else { continue };
            let written = self.sources.get(id).is_some_and(|it| Arc::ptr_eq(it, source));
            if !written && !applied.refused.contains_key(id) {
                replace(&self.file(id), &with_sum(source), Outlives::Process)?;
                self.sources.insert(id.clone(), source.clone());
            }
        }
        let there = |state: &State| !matches!(state, State::RecentlyRemoved);
        let present = now.iter().filter(|(_, state)| there(state)).map(|(id, _)| id.clone());
        let known = Known { present: present.collect(), removed: beside.removed.clone() };
        self.memory.save(&known);
        let complete = self.about.complete || applied.snapshot.synced;
        self.write_about(About { complete, ..self.about.clone() })
    }

    /// Removes what is kept of sources for others.
    fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join("sources")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            cleared => cleared,
        }
    }

    fn write_about(&mut self, about: About) -> io::Result<()> {
        if about != self.about || !self.written {
            let bytes = serde_json::to_vec(&about)?;
            replace(&self.folder.join("about.json"), &bytes, Outlives::Power)?;
            (self.about, self.written) = (about, true);
        }
        Ok(())
    }

    fn file(&self, id: &SourceId) -> PathBuf {
        // Neither part can have a dot.
        let name = format!("{}.{}.{ENDING}", id.namespace(), id.name());
        self.folder.join("sources").join(name)
    }
}

/// What a snapshot does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beside {
    /// The highest epoch there was.
    pub(super) epoch: u64,
    /// When sources were removed.
    pub(super) removed: BTreeMap<SourceId, Millis>,
}

fn read_about(file: &Path) -> Option<About> {
    let problem = match fs::read(file).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(about)) => return Some(about),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let file = file.display();
    warn!("cannot read {file}: {problem}; the cache is not used, and the operator is waited for");
    None
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn read_sources(folder: &Path) -> BTreeMap<SourceId, Arc<wire::Source>> {
    let mut sources = BTreeMap::new();
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return sources,
        Err(error) => {
            warn!("cannot read {}: {error}; the operator is waited for", folder.display());
            return sources;
        }
    };
    let paths: BTreeSet<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    for path in paths {
        // Others were being written when the process ended.
        if path.extension().is_none_or(|it| it != ENDING) {
            continue;
        }
        match read_source(&path) {
            Ok((id, source)) => {
                sources.insert(id, Arc::new(source));
            }
            Err(problem) => {
                let file = path.display();
                warn!(
                    "{file} in the cache {problem}; its source answers 503 until the operator tells it"
                );
            }
        }
    }
    sources
}

fn read_source(path: &Path) -> Result<(SourceId, wire::Source), String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let damaged = || "is damaged".to_owned();
    let (sum, message) = bytes.split_first_chunk().ok_or_else(damaged)?;
    if *sum != short_hash(message) {
        return Err(damaged());
    }
    let source = wire::Source::decode(message).map_err(|error| format!("is damaged: {error}"))?;
    let id = SourceId::new(&source.namespace, &source.name).map_err(|error| error.to_string())?;
    Ok((id, source))
}

/// A message with a checksum before it: a part of a message may well be a message.
fn with_sum(source: &wire::Source) -> Vec<u8> {
    let message = source.encode_to_vec();
    [&short_hash(&message)[..], &message].concat()
}
