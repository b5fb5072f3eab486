//! Folders as they change, and what every source is then.

use std::collections::BTreeMap;

use segment_source_core::source::SourceId;
use segment_source_store::Millis;

use super::{Keeper, Known, Pass};
use crate::config::{REMOVED_FOR, State, tests::source};

/// A folder in memory, read by a keeper.
struct Folder {
    keeper: Keeper,
    files: BTreeMap<&'static str, String>,
    now: Millis,
}

/// The same with an expression that is none.
fn bad(name: &str) -> String {
    source(name, "t\n      when: '1 +'")
}

fn secret(value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: prod}}\nstringData: \
         {{k: {value}}}\n"
    )
}

impl Folder {
    fn new() -> Self {
        Self { keeper: Keeper::default(), files: BTreeMap::new(), now: 1_000_000 }
    }

    fn pass(&mut self) -> Pass {
        let files = self.files.iter().map(|(name, text)| ((*name).to_owned(), Ok(text.clone())));
        self.keeper.apply(Ok(files.collect()), self.now)
    }

    fn write(&mut self, name: &'static str, text: impl Into<String>) -> &mut Self {
        self.files.insert(name, text.into());
        self
    }

    fn remove(&mut self, name: &str) -> &mut Self {
        self.files.remove(name);
        self
    }

    /// Whether all is known, and every source in a word.
    #[track_caller]
    fn check(&mut self, synced: bool, expected: &[(&str, &str)]) -> Vec<String> {
        let pass = self.pass();
        let found: Vec<(String, String)> = pass
            .snapshot
            .sources
            .iter()
            .map(|(id, state)| (id.name().to_owned(), in_a_word(state)))
            .collect();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect();
        assert_eq!((pass.snapshot.synced, found), (synced, expected));
        pass.findings.iter().map(ToString::to_string).collect()
    }
}

/// `EVENT TYPE/SECRET`, or what it is instead.
fn in_a_word(state: &State) -> String {
    match state {
        State::Loaded(source) => {
            let secrets = &source.verification.as_ref().unwrap().secrets;
            let secret = secrets
                .first()
                .map_or(String::from("-"), |it| String::from_utf8(it.value.to_vec()).unwrap());
            let mapping = &source.processing.as_ref().unwrap().mappings[0];
            format!("{}/{secret}", mapping.event_type)
        }
        State::NotLoaded { .. } => "not loaded".to_owned(),
        State::RecentlyRemoved => "removed".to_owned(),
    }
}

const BAD: &str =
    "spec.mappings[0].when: `1 +` is no expression: at character 4, it ends too early";
const KEPT: &str = "(the last good configuration stays in use)";
const NO_SECRET: &str =
    "spec.verification.secretRefs[0]: key `k` of Secret `s` is not there; create it";

#[test]
fn a_bad_edit_keeps_what_was_good_and_says_why() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t") + &secret("one"));
    assert_eq!(folder.check(true, &[("web", "t/one")]), [""; 0]);
    folder.write("a.yaml", bad("web") + &secret("one"));
    let findings = folder.check(true, &[("web", "t/one")]);
    assert_eq!(findings, [format!("a.yaml, prod/web: {BAD} {KEPT}")]);
    // A rotation goes on beside it.
    folder.write("a.yaml", bad("web") + &secret("two"));
    folder.check(true, &[("web", "t/two")]);
    folder.write("a.yaml", source("web", "u") + &secret("two"));
    assert_eq!(folder.check(true, &[("web", "u/two")]), [""; 0]);
}

#[test]
fn a_source_that_was_never_right_is_not_loaded() {
    let mut folder = Folder::new();
    folder.write("a.yaml", bad("web") + &secret("one"));
    folder.write("b.yaml", source("app", "t"));
    let findings = folder.check(true, &[("app", "t/one"), ("web", "not loaded")]);
    let reason = "(the source answers 503 until it is right)";
    assert_eq!(findings, [format!("a.yaml, prod/web: {BAD} {reason}")]);
    folder.write("a.yaml", format!("{}  sepc: 1\n", source("web", "t")));
    let findings = folder.check(true, &[("app", "t/one"), ("web", "not loaded")]);
    assert_eq!(
        findings[0],
        format!(
            "a.yaml, prod/web: spec.sepc: unknown field; known here: access, defaultDestination, \
         delivery, destinations, eventTypePath, idempotency, mappings, preprocess, rateLimit, \
         retention, suspend, timestampPath and verification {reason}"
        )
    );
}

#[test]
fn what_the_schema_and_the_compiler_refuse_is_told_once() {
    let mut folder = Folder::new();
    folder.write("a.yaml", bad("web").replace("- name: m", "- name: M"));
    let findings = folder.check(true, &[("web", "not loaded")]);
    let reason = "(the source answers 503 until it is right)";
    let name = "spec.mappings[0].name: must be 1 to 63 lower-case letters, digits and `-`, starting \
                and ending with a letter or digit";
    let said = [name, BAD].map(|it| format!("a.yaml, prod/web: {it} {reason}"));
    assert_eq!(findings, said);
}

#[test]
fn a_file_that_cannot_be_read_keeps_everything_it_said() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t") + "---\n" + &source("app", "t") + &secret("one"));
    folder.check(true, &[("app", "t/one"), ("web", "t/one")]);
    folder.write("a.yaml", "a: [");
    let findings = folder.check(true, &[("app", "t/one"), ("web", "t/one")]);
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].starts_with("a.yaml: is not YAML or JSON: line ")
            && findings[0].ends_with("(what it said last stays in use)"),
        "{findings:?}"
    );
    folder.write("a.yaml", source("web", "t") + &secret("one"));
    folder.check(true, &[("app", "removed"), ("web", "t/one")]);
}

#[test]
fn while_a_file_was_never_readable_any_source_may_be_in_it() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t")).write("b.yaml", "a: [");
    folder.check(false, &[("web", "t/-")]);
    folder.write("b.yaml", "kind: SegmentSource");
    folder.check(false, &[("web", "t/-")]);
    folder.write("b.yaml", source("app", "t"));
    folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
    // From now on it is known what was in it.
    folder.write("b.yaml", "a: [");
    folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
}

#[test]
fn a_document_without_a_readable_name_may_be_any_of_its_file() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t")).write("b.yaml", source("app", "t"));
    folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
    folder.write("a.yaml", source("'Not a name'", "u"));
    let findings = folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
    assert!(findings[0].starts_with("a.yaml, document 1: metadata.name: must be"), "{findings:?}");
}

#[test]
fn a_name_belongs_to_the_file_that_had_it_first() {
    let mut folder = Folder::new();
    folder.write("b.yaml", source("web", "b"));
    folder.check(true, &[("web", "b/-")]);
    folder.write("a.yaml", source("web", "a"));
    let findings = folder.check(true, &[("web", "b/-")]);
    assert_eq!(
        findings,
        [
            "a.yaml, prod/web: metadata.name: is already defined in b.yaml; remove one of the two \
         (this definition is not used)"
                .to_owned(),
            format!("b.yaml, prod/web: {NO_SECRET}"),
        ]
    );
    // Not even when the owner breaks.
    folder.write("b.yaml", "a: [");
    folder.check(true, &[("web", "b/-")]);
    folder.remove("b.yaml");
    folder.check(true, &[("web", "a/-")]);
    // Nobody had it: the first by name.
    let mut folder = Folder::new();
    folder.write("b.yaml", source("web", "b")).write("a.yaml", source("web", "a"));
    folder.check(true, &[("web", "a/-")]);
    // Twice in one file: the first.
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "a") + "---\n" + &source("web", "b"));
    let findings = folder.check(true, &[("web", "a/-")]);
    assert_eq!(
        findings[1],
        "a.yaml, prod/web: metadata.name: is already defined in an earlier document of this file; \
         remove one of the two (this definition is not used)"
    );
}

#[test]
fn secrets_arrive_late_change_and_keep_their_last_value() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t"));
    assert_eq!(folder.check(true, &[("web", "t/-")]), [format!("a.yaml, prod/web: {NO_SECRET}")]);
    folder.write("s.yaml", secret("one"));
    assert_eq!(folder.check(true, &[("web", "t/one")]), [""; 0]);
    folder.write("s.yaml", secret("two"));
    folder.check(true, &[("web", "t/two")]);
    folder.write("s.yaml", secret("{}"));
    let findings = folder.check(true, &[("web", "t/two")]);
    assert_eq!(
        findings,
        [
            "s.yaml, Secret prod/s: stringData.k: must be a string; put it in quotes (its last value \
         stays in use)"
        ]
    );
    folder.remove("s.yaml");
    assert_eq!(
        folder.check(true, &[("web", "t/two")]),
        ["a.yaml, prod/web: spec: Secret `s` is gone; its last value \
         stays in use until the next start"]
    );
    // Another namespace's Secret of the same name is another one.
    folder.write("s.yaml", secret("three").replace("prod", "test"));
    folder.check(true, &[("web", "t/two")]);
}

#[test]
fn removed_sources_are_remembered_for_an_hour() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t")).write("b.yaml", source("app", "t"));
    folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
    folder.remove("b.yaml");
    folder.check(true, &[("app", "removed"), ("web", "t/-")]);
    folder.now += REMOVED_FOR - 1;
    folder.check(true, &[("app", "removed"), ("web", "t/-")]);
    folder.now += 1;
    folder.check(true, &[("web", "t/-")]);
    // And those that come back are back.
    folder.remove("a.yaml");
    folder.check(true, &[("web", "removed")]);
    folder.now -= 5000;
    folder.check(true, &[("web", "removed")]);
    folder.write("a.yaml", source("web", "u"));
    folder.check(true, &[("web", "u/-")]);
}

#[test]
fn removals_outlive_a_restart_and_happen_during_it() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t")).write("b.yaml", source("app", "t"));
    folder.check(true, &[("app", "t/-"), ("web", "t/-")]);
    folder.remove("b.yaml");
    folder.check(true, &[("app", "removed"), ("web", "t/-")]);
    let remembered = folder.keeper.known().clone();
    let id = |text: &str| text.parse::<SourceId>().unwrap();
    let expected =
        Known { present: [id("prod/web")].into(), removed: [(id("prod/app"), folder.now)].into() };
    assert_eq!(remembered, expected);

    folder.keeper = Keeper::remembering(remembered);
    folder.now += REMOVED_FOR - 1;
    folder.remove("a.yaml");
    folder.check(true, &[("app", "removed"), ("web", "removed")]);
    folder.now += 1;
    folder.check(true, &[("web", "removed")]);
}

#[test]
fn nothing_is_removed_while_something_cannot_be_read() {
    let id = |text: &str| text.parse::<SourceId>().unwrap();
    let known = Known { present: [id("prod/web")].into(), ..Known::default() };
    let mut folder = Folder::new();
    folder.keeper = Keeper::remembering(known.clone());
    let pass = folder.keeper.apply(Err("cannot be read".to_owned()), 5);
    assert_eq!((pass.snapshot.synced, pass.snapshot.sources.len()), (false, 0));
    assert_eq!(pass.findings[0].to_string(), "cannot be read");
    folder.write("a.yaml", "a: [");
    folder.check(false, &[]);
    assert_eq!(*folder.keeper.known(), known);
    folder.write("a.yaml", "");
    folder.check(true, &[("web", "removed")]);
    // The folder goes away for a moment.
    folder.write("a.yaml", source("web", "t"));
    folder.check(true, &[("web", "t/-")]);
    let pass = folder.keeper.apply(Err("gone".to_owned()), 6);
    assert_eq!(in_a_word(&pass.snapshot.sources[&id("prod/web")]), "t/-");
    assert!(pass.snapshot.synced);
}

#[test]
fn what_did_not_change_is_shared() {
    let mut folder = Folder::new();
    folder.write("a.yaml", source("web", "t")).write("b.yaml", source("app", "t") + &secret("x"));
    let (before, mut after) = (folder.pass().snapshot, Vec::new());
    folder.write("b.yaml", source("app", "u") + &secret("x"));
    for (id, state) in folder.pass().snapshot.sources {
        if let (State::Loaded(now), State::Loaded(before)) = (state, &before.sources[&id]) {
            after.push((id.name().to_owned(), std::sync::Arc::ptr_eq(&now, before)));
        }
    }
    assert_eq!(after, [("app".to_owned(), false), ("web".to_owned(), true)]);
}
