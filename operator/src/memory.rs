//! What was found out about every source when it was looked at last, so that looking again costs
//! nothing as long as nothing changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use segment_source_crds::SecretRef;

use crate::{compile::Rejection, dereference::Versions, lock::lock, name::Name};

/// What was found out about one manifest and the Secrets it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    /// The keys that replicas get the values of.
    pub(crate) references: Vec<SecretRef>,
    /// The Secrets they were read from.
    pub(crate) versions: Versions,
    /// Whether this generation is right.
    pub(crate) verdict: Result<(), Rejection>,
    /// What works, but is probably not what was meant; empty for none.
    pub(crate) notes: String,
    /// Secrets that are missing, of what replicas run; `None` when they run nothing.
    pub(crate) unresolved: Option<String>,
}

#[derive(Debug, Default)]
struct Entry {
    finding: Option<Arc<Finding>>,
    state: Option<&'static str>,
    failures: u32,
}

/// What is known of every source.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: Mutex<HashMap<Name, Entry>>,
}

impl Memory {
    /// What was found out about this generation of this object.
    pub(crate) fn finding(&self, name: &Name, uid: &str, generation: i64) -> Option<Arc<Finding>> {
        let finding = lock(&self.entries).get(name)?.finding.clone()?;
        (finding.uid == uid && finding.generation == generation).then_some(finding)
    }

    pub(crate) fn remember(&self, name: &Name, finding: Arc<Finding>) {
        lock(&self.entries).entry(name.clone()).or_default().finding = Some(finding);
    }

    /// The state metrics count it in.
    pub(crate) fn set_state(&self, name: &Name, state: &'static str) {
        lock(&self.entries).entry(name.clone()).or_default().state = Some(state);
    }

    /// One more look failed in a row; how many that makes.
    pub(crate) fn failed(&self, name: &Name) -> u32 {
        let mut entries = lock(&self.entries);
        let failures = &mut entries.entry(name.clone()).or_default().failures;
        *failures = failures.saturating_add(1);
        *failures
    }

    /// How many looks in a row have failed.
    pub(crate) fn failures(&self, name: &Name) -> u32 {
        lock(&self.entries).get(name).map_or(0, |it| it.failures)
    }

    /// A look did not fail.
    pub(crate) fn succeeded(&self, name: &Name) {
        if let Some(entry) = lock(&self.entries).get_mut(name) {
            entry.failures = 0;
        }
    }

    /// It is gone.
    pub(crate) fn forget(&self, name: &Name) {
        lock(&self.entries).remove(name);
    }

    /// How many sources are in which state.
    pub(crate) fn states(&self) -> BTreeMap<&'static str, i64> {
        let mut states = BTreeMap::new();
        for entry in lock(&self.entries).values() {
            *states.entry(entry.state.unwrap_or("unknown")).or_default() += 1;
        }
        states
    }
}
