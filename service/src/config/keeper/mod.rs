//! The state of a folder: from what its files say now, and what they said before, to what every
//! source is. Without IO and clock: [`Keeper::apply`] is given the files and the time.
//!
//! Three rules. A bad edit never replaces what was good. What one file says never changes what
//! another one's sources are: a name belongs to the file that had it first. What could exist is
//! never said not to exist: while a file has never been readable, the snapshot is not synced.

mod file;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use segment_source_core::source::SourceId;
use segment_source_crds::{Document, Manifest, Problem, Reader, Subject, compile};
use segment_source_store::Millis;

use self::{
    file::FileState,
    source::{Good, Secrets},
};
use super::{Finding, Severity, Snapshot, State, files::Listing, memory::Known};

/// Values of one Secret by key.
type SecretData = BTreeMap<String, Vec<u8>>;

/// Everything that is known of a folder.
#[derive(Default)]
pub(crate) struct Keeper {
    reader: Reader,
    /// Whether the folder was ever read.
    listed: bool,
    files: BTreeMap<String, FileState>,
    /// Which file a subject belongs to.
    owners: HashMap<Subject, String>,
    sources: BTreeMap<SourceId, Held>,
    /// By namespace and name; also those that are gone but still used.
    secrets: BTreeMap<(String, String), SecretData>,
    known: Known,
}

/// One source as it is held.
struct Held {
    good: Option<Good>,
    /// What is wrong with its newest manifest.
    problems: Vec<Problem>,
}

/// What one look at the folder gave.
pub(crate) struct Pass {
    /// What every source is now.
    pub(crate) snapshot: Snapshot,
    /// Everything that is wrong now, in the order of files.
    pub(crate) findings: Vec<Finding>,
}

impl Keeper {
    /// Begins with what is remembered of an earlier process.
    pub(crate) fn remembering(known: Known) -> Self {
        Self { known, ..Self::default() }
    }

    /// What is to be remembered.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Takes in what the folder looks like at `now`.
    pub(crate) fn apply(&mut self, listing: Listing, now: Millis) -> Pass {
        let mut findings = Vec::new();
        match listing {
            Err(message) => findings.push(Finding::of_file("", message)),
            Ok(files) => {
                self.listed = true;
                self.read(files);
            }
        }
        self.assign_owners(&mut findings);
        self.take_secrets();
        self.report_others(&mut findings);
        self.take_sources(&mut findings);
        self.drop_unused_secrets();
        self.note_removals(now);
        findings.extend(self.files.values().filter_map(|file| file.finding.clone()));
        findings.sort();
        Pass { snapshot: self.snapshot(), findings }
    }

    fn read(&mut self, files: Vec<(String, Result<String, String>)>) {
        let mut before = std::mem::take(&mut self.files);
        for (name, content) in files {
            let mut file = before.remove(&name).unwrap_or_default();
            file.update(&name, content, &self.reader);
            self.files.insert(name, file);
        }
    }

    /// Whoever had a subject first keeps it; between new ones, the first file by name has it.
    fn assign_owners(&mut self, findings: &mut Vec<Finding>) {
        let before = std::mem::take(&mut self.owners);
        for (name, file) in &self.files {
            for subject in &file.claims {
                let earlier = before.get(subject);
                if earlier == Some(name) || !self.owners.contains_key(subject) {
                    let still = |owner: &String| {
                        self.files.get(owner).is_some_and(|file| file.claims.contains(subject))
                    };
                    let owner = earlier.filter(|owner| still(owner)).unwrap_or(name);
                    self.owners.insert(subject.clone(), owner.clone());
                }
            }
        }
        for (name, file) in &self.files {
            let mut seen = HashMap::new();
            for document in &file.documents {
                let Some(subject) = &document.subject else { continue };
                let owner = self.owners.get(subject).unwrap_or(name);
                let place = match (owner == name, seen.insert(subject, document.number)) {
                    (true, None) => continue,
                    (true, Some(_)) => "an earlier document of this file".to_owned(),
                    (false, _) => owner.clone(),
                };
                let message = format!("is already defined in {place}; remove one of the two");
                let problem = Problem::new("metadata.name", message);
                let ignored = Some("this definition is not used");
                findings.push(finding(name, document, Severity::Error, problem, ignored));
            }
        }
    }

    /// The first document of its owner that is about a subject.
    fn document<'a>(&'a self, subject: &Subject) -> Option<(&'a str, &'a Document)> {
        let (name, file) = self.files.get_key_value(self.owners.get(subject)?)?;
        let document = file.documents.iter().find(|it| it.subject.as_ref() == Some(subject))?;
        Some((name.as_str(), document))
    }

    fn take_secrets(&mut self) {
        for subject in self.owners.keys() {
            if let Some((_, document)) = self.document(subject)
                && let Ok(Manifest::Secret(secret)) = &document.content
            {
                let id = (secret.namespace.clone(), secret.name.clone());
                self.secrets.insert(id, secret.data.clone());
            }
        }
    }

    /// Documents with mistakes that are not about a source.
    fn report_others(&self, findings: &mut Vec<Finding>) {
        for (name, file) in &self.files {
            for document in &file.documents {
                let Err(problems) = &document.content else { continue };
                let consequence = match &document.subject {
                    Some(Subject::Source(_)) => continue,
                    Some(Subject::Secret { namespace, name }) => {
                        let last = self.secrets.get(&(namespace.clone(), name.clone()));
                        last.map(|_| "its last value stays in use")
                    }
                    None => None,
                };
                let found = problems.iter().cloned();
                findings.extend(
                    found.map(|it| finding(name, document, Severity::Error, it, consequence)),
                );
            }
        }
    }

    fn take_sources(&mut self, findings: &mut Vec<Finding>) {
        let mut before = std::mem::take(&mut self.sources);
        let mut sources = BTreeMap::new();
        for subject in self.owners.keys() {
            let Subject::Source(id) = subject else { continue };
            let good = before.remove(id).and_then(|held| held.good);
            let secrets = |name: &str, key: &str| {
                let id = (id.namespace().to_owned(), name.to_owned());
                self.secrets.get(&id)?.get(key).cloned()
            };
            let held = match self.document(subject) {
                None => Held::kept(good, &secrets, Vec::new()),
                Some((file, document)) => {
                    let held = Held::of(document, good, &secrets);
                    held.report(file, document, findings);
                    let gone = self.gone(id, &held).into_iter();
                    findings.extend(
                        gone.map(|it| finding(file, document, Severity::Warning, it, None)),
                    );
                    held
                }
            };
            sources.insert(id.clone(), held);
        }
        self.sources = sources;
    }

    /// Secrets that a source uses though nothing defines them any more.
    fn gone(&self, id: &SourceId, held: &Held) -> Vec<Problem> {
        let used = held.good.iter().flat_map(|good| &good.used);
        let mut names: Vec<&str> = used
            .filter(|(_, value)| value.is_some())
            .map(|((name, _), _)| name.as_str())
            .filter(|name| {
                let (namespace, name) = (id.namespace().to_owned(), (*name).to_owned());
                !self.owners.contains_key(&Subject::Secret { namespace, name })
            })
            .collect();
        names.dedup();
        let message = |name| {
            format!("Secret `{name}` is gone; its last value stays in use until the next start")
        };
        names.into_iter().map(|name| Problem::new("spec", message(name))).collect()
    }

    /// A Secret that is gone keeps its last value for those who use it.
    fn drop_unused_secrets(&mut self) {
        let mut used = std::collections::HashSet::new();
        for (id, held) in &self.sources {
            let names = held.good.iter().flat_map(|good| &good.used).map(|((name, _), _)| name);
            used.extend(names.map(|name| (id.namespace().to_owned(), name.clone())));
        }
        let owners = &self.owners;
        self.secrets.retain(|id, _| {
            let (namespace, name) = id.clone();
            used.contains(id) || owners.contains_key(&Subject::Secret { namespace, name })
        });
    }

    fn note_removals(&mut self, now: Millis) {
        if self.synced() {
            self.known.only(|id| self.sources.contains_key(id), now);
        }
        for id in self.sources.keys() {
            self.known.appear(id);
        }
        self.known.forget(now);
    }

    /// Whether nothing can exist that is not known.
    fn synced(&self) -> bool {
        self.listed && self.files.values().all(|file| file.ever_whole)
    }

    fn snapshot(&self) -> Snapshot {
        let removed = self.known.removed.keys().map(|id| (id.clone(), State::RecentlyRemoved));
        let held = self.sources.iter().map(|(id, held)| (id.clone(), held.state()));
        Snapshot {
            version: 0,
            read: self.listed,
            synced: self.synced(),
            unread: BTreeSet::new(),
            sources: removed.chain(held).collect(),
        }
    }
}

impl Held {
    fn of(document: &Document, good: Option<Good>, secrets: &Secrets<'_>) -> Self {
        let compiled = match &document.content {
            Ok(Manifest::Source(manifest)) => Good::compile(manifest, secrets, good.as_ref()),
            Ok(_) => Err(Vec::new()),
            Err(problems) => {
                let mut problems = problems.clone();
                if let Some(Err(more)) = document.remains.as_ref().map(|it| compile(it, secrets)) {
                    // What has been said of a field is enough.
                    let found = problems.len();
                    let said = |it: &Problem| problems[..found].iter().any(|p| p.field == it.field);
                    let more: Vec<_> = more.into_iter().filter(|it| !said(it)).collect();
                    problems.extend(more);
                }
                Err(problems)
            }
        };
        match compiled {
            Ok(good) => Self { good: Some(good), problems: Vec::new() },
            Err(problems) => Self::kept(good, secrets, problems),
        }
    }

    fn kept(good: Option<Good>, secrets: &Secrets<'_>, problems: Vec<Problem>) -> Self {
        Self { good: good.map(|good| good.renewed(secrets)), problems }
    }

    fn report(&self, file: &str, document: &Document, findings: &mut Vec<Finding>) {
        let consequence = match self.good {
            Some(_) => "the last good configuration stays in use",
            None => "the source answers 503 until it is right",
        };
        let errors = self.problems.iter().map(|it| (Severity::Error, it, Some(consequence)));
        let notes = self.good.iter().flat_map(|good| &good.notes);
        let notes = notes.map(|it| (Severity::Warning, it, None));
        for (severity, problem, consequence) in errors.chain(notes) {
            findings.push(finding(file, document, severity, problem.clone(), consequence));
        }
    }

    fn state(&self) -> State {
        match &self.good {
            Some(good) => State::Loaded(good.source.clone()),
            None => {
                let problems: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
                State::NotLoaded { reason: problems.join("; ") }
            }
        }
    }
}

fn finding(
    file: &str,
    document: &Document,
    severity: Severity,
    problem: Problem,
    consequence: Option<&'static str>,
) -> Finding {
    Finding {
        file: file.to_owned(),
        document: Some(document.number),
        subject: document.subject.as_ref().map(ToString::to_string),
        severity,
        problem,
        consequence,
    }
}
