//! What outlives a restart: which sources there were, and when removed ones were removed. Neither
//! configuration nor secrets are kept here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use segment_source_core::source::SourceId;
use segment_source_store::Millis;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    REMOVED_FOR,
    replace::{Outlives, replace},
};

/// Sources that are, and sources that were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Those there are.
    pub(crate) present: BTreeSet<SourceId>,
    /// Those removed lately, and when.
    pub(crate) removed: BTreeMap<SourceId, Millis>,
}

impl Known {
    /// This source is there.
    pub(crate) fn appear(&mut self, id: &SourceId) {
        if !self.present.contains(id) {
            self.present.insert(id.clone());
            self.removed.remove(id);
        }
    }

    /// This source is not there any more; one that never was is not remembered.
    pub(crate) fn vanish(&mut self, id: &SourceId, now: Millis) {
        if self.present.remove(id) {
            self.removed.insert(id.clone(), now);
        }
    }

    /// No others are there than those `there` knows; gives the ones that went.
    pub(crate) fn only(&mut self, there: impl Fn(&SourceId) -> bool, now: Millis) -> Vec<SourceId> {
        let gone: Vec<SourceId> = self.present.iter().filter(|id| !there(id)).cloned().collect();
        for id in &gone {
            self.vanish(id, now);
        }
        gone
    }

    /// Forgets what was removed long ago; gives what it was.
    pub(crate) fn forget(&mut self, now: Millis) -> Vec<SourceId> {
        let mut forgotten = Vec::new();
        self.removed.retain(|id, at| {
            // A clock that steps back does not make it longer.
            *at = now.min(*at);
            let keep = now - *at < REMOVED_FOR;
            if !keep {
                forgotten.push(id.clone());
            }
            keep
        });
        forgotten
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    present: Vec<String>,
    removed: BTreeMap<String, Millis>,
}

/// A small file in the cache folder.
#[derive(Debug)]
pub(crate) struct Memory {
    file: PathBuf,
    written: Option<Known>,
}

impl Memory {
    /// Uses `sources.json` of the folder, which need not exist.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { file: folder.join("sources.json"), written: None }
    }

    /// What was kept; nothing on the first start, or when it cannot be read.
    pub(crate) fn load(&mut self) -> Known {
        let stored: Stored = match fs::read(&self.file).map(|bytes| serde_json::from_slice(&bytes))
        {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => return self.forgotten(&error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Known::default(),
            Err(error) => return self.forgotten(&error),
        };
        let known = Known {
            present: stored.present.iter().filter_map(|id| id.parse().ok()).collect(),
            removed: stored
                .removed
                .iter()
                .filter_map(|(id, at)| Some((id.parse().ok()?, *at)))
                .collect(),
        };
        self.written = Some(known.clone());
        known
    }

    fn forgotten(&self, error: &dyn std::error::Error) -> Known {
        let file = self.file.display();
        warn!("cannot read {file}: {error}; sources removed before this start are answered 404");
        Known::default()
    }

    /// Keeps this, when it differs from what is kept. Failing is no reason to stop: only the answer
    /// to sources removed before the next start depends on it.
    pub(crate) fn save(&mut self, known: &Known) {
        if self.written.as_ref() == Some(known) {
            return;
        }
        match self.write(known) {
            Ok(()) => self.written = Some(known.clone()),
            Err(error) => {
                let file = self.file.display();
                warn!("cannot write {file}: {error}; it is tried again with the next change");
            }
        }
    }

    fn write(&self, known: &Known) -> io::Result<()> {
        let stored = Stored {
            present: known.present.iter().map(ToString::to_string).collect(),
            removed: known.removed.iter().map(|(id, at)| (id.to_string(), *at)).collect(),
        };
        replace(&self.file, &serde_json::to_vec(&stored)?, Outlives::Power)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Known, Memory};

    #[test]
    fn what_is_kept_is_read_again_and_broken_files_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not/made/yet");
        let known = Known {
            present: ["prod/web".parse().unwrap()].into(),
            removed: [("prod/old".parse().unwrap(), 17)].into(),
        };
        assert_eq!(Memory::new(&folder).load(), Known::default());
        Memory::new(&folder).save(&known);
        assert_eq!(Memory::new(&folder).load(), known);
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["sources.json"]);
        fs::write(folder.join("sources.json"), "{").unwrap();
        assert_eq!(Memory::new(&folder).load(), Known::default());
    }

    #[test]
    fn it_is_written_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(folder.path());
        memory.save(&Known::default());
        fs::remove_file(folder.path().join("sources.json")).unwrap();
        memory.save(&Known::default());
        assert!(!folder.path().join("sources.json").exists());
    }
}
