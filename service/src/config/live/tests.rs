//! Snapshots made into tables, by what comes out of them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use segment_source_core::source::SourceId;
use segment_source_edge::SourceState;
use segment_source_ingest::SCHEMA_LEVEL;
use segment_source_proto::config::v1 as wire;

use super::tables::{Changed, Tables};
use crate::{
    args::Role,
    config::{Snapshot, State, tests::message},
};

struct Rig {
    tables: Tables,
    sources: BTreeMap<SourceId, State>,
}

impl Rig {
    fn new(role: Role) -> Self {
        Self { tables: Tables::new(role), sources: BTreeMap::new() }
    }

    fn update(&mut self) -> Changed {
        let sources = self.sources.clone();
        let snapshot =
            Snapshot { version: 7, read: true, synced: true, unread: [].into(), sources };
        self.tables.update(Arc::new(snapshot), Instant::now())
    }

    fn put(&mut self, source: wire::Source) -> Changed {
        let id = SourceId::new(&source.namespace, &source.name).unwrap();
        self.sources.insert(id, State::Loaded(Arc::new(source)));
        self.update()
    }

    /// Each source in a word: what the edge does, and the ingest's generation.
    fn words(&self) -> Vec<String> {
        let (edge, ingest) = (self.tables.edge().sources, self.tables.ingest().sources);
        let mut ids: Vec<&SourceId> = edge.keys().chain(ingest.keys()).collect();
        ids.sort();
        ids.dedup();
        let word = |id: &SourceId| {
            let edge = match edge.get(id) {
                Some(SourceState::Live(_)) => "live",
                Some(SourceState::NotLoaded { .. }) => "not loaded",
                Some(SourceState::RecentlyRemoved) => "removed",
                None => "-",
            };
            let ingest = ingest.get(id).map_or("-".to_owned(), |it| it.generation().to_string());
            format!("{} {edge} {ingest}", id.name())
        };
        ids.into_iter().map(word).collect()
    }

    fn refused(&self) -> Vec<String> {
        let refused = self.tables.applied().refused;
        refused.iter().map(|(id, reason)| format!("{id}: {reason}")).collect()
    }
}

const NOTHING: Changed = Changed { verification: false, processing: false, destinations: false };

#[test]
fn what_cannot_be_used_is_refused_as_a_whole_and_what_was_in_service_stays() {
    let mut rig = Rig::new(Role::All);
    rig.put(message("web", 1));
    assert_eq!((rig.words(), rig.refused()), (vec!["web live 1".to_owned()], vec![]));

    let level = SCHEMA_LEVEL + 1;
    let too_high = wire::Source { schema_level: level, ..message("web", 2) };
    assert_eq!(rig.put(too_high), NOTHING);
    assert_eq!(rig.words(), ["web live 1"]);
    let reason = format!(
        "prod/web: schema_level: this source needs level {level}, this replica knows \
         {SCHEMA_LEVEL}; upgrade the replica"
    );
    assert_eq!(rig.refused(), [reason]);

    // One wrong part keeps the other one out as well.
    let mut half = message("web", 3);
    half.verification.as_mut().unwrap().mode = 0;
    half.processing.as_mut().unwrap().delivery_suspended = true;
    assert_eq!(rig.put(half), NOTHING);
    assert_eq!(rig.words(), ["web live 1"]);
    assert_eq!(rig.refused(), ["prod/web: source prod/web: verification.mode is not set"]);

    rig.put(message("web", 4));
    assert_eq!((rig.words(), rig.refused()), (vec!["web live 4".to_owned()], vec![]));
}

#[test]
fn what_was_never_good_is_not_loaded_and_removals_forgive() {
    let mut rig = Rig::new(Role::All);
    let missing = wire::Source { processing: None, ..message("web", 1) };
    rig.put(missing);
    assert_eq!(rig.words(), ["web not loaded -"]);
    assert_eq!(rig.refused().len(), 1);
    rig.sources.insert("prod/web".parse().unwrap(), State::RecentlyRemoved);
    rig.update();
    assert_eq!((rig.words(), rig.refused()), (vec!["web removed -".to_owned()], vec![]));
    rig.sources.clear();
    rig.update();
    assert_eq!(rig.words(), [""; 0]);
}

#[test]
fn a_role_takes_its_part_and_needs_it() {
    let edge_part = || wire::Source { processing: None, ..message("web", 1) };
    let ingest_part = || wire::Source { verification: None, ..message("web", 1) };
    let check = |role: Role, source: wire::Source, words: &[&str], refused: usize| {
        let mut rig = Rig::new(role);
        rig.put(source);
        assert_eq!(
            (rig.words(), rig.refused().len()),
            (words.iter().map(|it| (*it).to_owned()).collect(), refused)
        );
    };
    check(Role::Edge, edge_part(), &["web live -"], 0);
    check(Role::Edge, ingest_part(), &["web not loaded -"], 1);
    check(Role::Ingest, ingest_part(), &["web - 1"], 0);
    check(Role::Ingest, edge_part(), &[], 1);
    check(Role::All, edge_part(), &["web not loaded -"], 1);
    check(Role::All, ingest_part(), &["web not loaded -"], 1);
    check(Role::Edge, message("web", 1), &["web live -"], 0);
}

#[test]
fn queues_follow_their_source() {
    let mut rig = Rig::new(Role::All);
    let queues = |rig: &Rig| {
        let mut names: Vec<String> =
            rig.tables.destinations().all.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    rig.put(message("web", 1));
    rig.put(message("app", 1));
    assert_eq!(queues(&rig), ["prod/app:default", "prod/web:default"]);
    let mut renamed = message("web", 2);
    renamed.processing.as_mut().unwrap().destinations[0].name = "other".to_owned();
    rig.put(renamed);
    assert_eq!(queues(&rig), ["prod/app:default", "prod/web:other"]);
    rig.sources.remove(&"prod/web".parse().unwrap());
    assert_eq!(rig.update(), Changed { verification: true, processing: true, destinations: true });
    assert_eq!(queues(&rig), ["prod/app:default"]);
}

/// Prints what one change costs among ten thousand sources.
#[test]
#[expect(clippy::print_stdout, reason = "measured, not asserted")]
fn one_change_among_many_makes_one_source_anew() {
    const MANY: i64 = 10_000;
    let mut rig = Rig::new(Role::All);
    for number in 0..MANY {
        let source = message(&format!("source-{number:05}"), 1);
        let id = SourceId::new("prod", &source.name).unwrap();
        rig.sources.insert(id, State::Loaded(Arc::new(source)));
    }
    let begun = Instant::now();
    rig.update();
    let all = begun.elapsed();
    let (edge, ingest) = (rig.tables.edge().sources, rig.tables.ingest().sources);

    let id: SourceId = "prod/source-05000".parse().unwrap();
    rig.sources.insert(id.clone(), State::Loaded(Arc::new(message("source-05000", 2))));
    let snapshot = Snapshot {
        version: 8,
        read: true,
        synced: true,
        unread: [].into(),
        sources: rig.sources.clone(),
    };
    let begun = Instant::now();
    let changed = rig.tables.update(Arc::new(snapshot), Instant::now());
    let updated = begun.elapsed();
    let begun = Instant::now();
    let ingest_now = rig.tables.ingest().sources;
    let published = begun.elapsed();
    println!(
        "10,000 sources: all in {all:?}; one change: found in {updated:?}, published in {published:?}"
    );

    assert_eq!(changed, Changed { processing: true, ..NOTHING });
    let made_anew: Vec<&SourceId> = ingest_now
        .iter()
        .filter(|(id, source)| !Arc::ptr_eq(source, &ingest[*id]))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(made_anew, [&id]);
    let same = |(id, state): (&SourceId, &SourceState)| match (state, &edge[id]) {
        (SourceState::Live(one), SourceState::Live(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    assert!(rig.tables.edge().sources.iter().all(same));
    assert_eq!(rig.tables.destinations().all.len(), 10_000);
}
