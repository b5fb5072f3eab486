//! The cache on a disk: what is kept, whose it is, and what is not believed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use segment_source_core::source::SourceId;
use segment_source_proto::config::v1 as wire;

use super::super::{
    cache::{Beside, Cache, Owner},
    told::Kept,
};
use crate::{
    args::Role,
    config::{Applied, Snapshot, State, memory::Known, tests::message},
};

fn id(name: &str) -> SourceId {
    format!("prod/{name}").parse().unwrap()
}

fn owner(operator: &str, role: Role) -> Owner {
    Owner::new(&operator, role)
}

fn open(folder: &Path) -> (Cache, Kept) {
    Cache::open(folder, owner("operator:9443", Role::All))
}

fn loaded(source: &Arc<wire::Source>) -> State {
    State::Loaded(source.clone())
}

fn applied(sources: &[(&str, State)], refused: &[&str], synced: bool) -> Applied {
    let sources = sources.iter().map(|(name, state)| (id(name), state.clone())).collect();
    let refused = refused.iter().map(|name| (id(name), "wrong".to_owned()));
    Applied {
        snapshot: Arc::new(Snapshot {
            version: 1,
            read: synced,
            synced,
            unread: [].into(),
            sources,
        }),
        refused: Arc::new(refused.collect()),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn what_is_in_service_is_kept_for_the_same_owner() {
    let home = tempfile::tempdir().unwrap();
    let (mut cache, kept) = open(home.path());
    assert_eq!(kept, Kept::default());
    let (web, app) = (Arc::new(message("web", 1)), Arc::new(message("app", 1)));
    let beside = Beside { epoch: 4, removed: [(id("old"), 17)].into() };
    let not_loaded = State::NotLoaded { reason: "wrong".into() };
    let sources = [
        ("app", loaded(&app)),
        ("never", not_loaded),
        ("old", State::RecentlyRemoved),
        ("web", loaded(&web)),
    ];
    cache.save(&applied(&sources[..3], &[], false), &beside);
    assert!(!open(home.path()).1.complete);
    cache.save(&applied(&sources, &[], true), &beside);
    let all = Kept {
        epoch: 4,
        known: Known {
            present: [id("app"), id("never"), id("web")].into(),
            removed: [(id("old"), 17)].into(),
        },
        sources: BTreeMap::from([(id("app"), app.clone()), (id("web"), web.clone())]),
        complete: true,
    };
    assert_eq!(open(home.path()).1, all);
    let names: Vec<String> = files(home.path())
        .iter()
        .map(|path| {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            path.strip_prefix(home.path()).unwrap().display().to_string()
        })
        .collect();
    let expected = [
        "operator/about.json",
        "operator/sources/prod.app.pb",
        "operator/sources/prod.web.pb",
        "operator/sources.json",
    ];
    assert_eq!(names, expected);

    // What is refused does not replace what was good; what is removed goes.
    let newer = Arc::new(message("web", 2));
    let sources = [("app", State::RecentlyRemoved), ("web", loaded(&newer))];
    cache.save(&applied(&sources, &["web"], true), &Beside { epoch: 5, ..beside.clone() });
    let kept = open(home.path()).1;
    assert_eq!((kept.epoch, kept.sources), (5, BTreeMap::from([(id("web"), web)])));
    cache.save(&applied(&sources, &[], true), &beside);
    assert_eq!(open(home.path()).1.sources[&id("web")], newer);
}

#[test]
fn a_cache_of_others_is_not_believed() {
    let web = Arc::new(message("web", 1));
    let beside = Beside { epoch: 4, ..Beside::default() };
    let check = |other: Owner, epoch: u64| {
        let home = tempfile::tempdir().unwrap();
        open(home.path()).0.save(&applied(&[("web", loaded(&web))], &[], true), &beside);
        let expected = Kept { epoch, ..Kept::default() };
        assert_eq!(Cache::open(home.path(), other.clone()).1, expected);
        // Nor is it once the owner was there, and nothing of it is left.
        let (mut cache, _) = Cache::open(home.path(), other.clone());
        cache.save(&applied(&[], &[], false), &Beside { epoch, ..Beside::default() });
        assert_eq!(Cache::open(home.path(), other).1, expected);
        assert_eq!(open(home.path()).1.sources, BTreeMap::new());
    };
    // The same operator counts on; another one counts anew.
    check(owner("operator:9443", Role::Edge), 4);
    check(owner("another:9443", Role::All), 0);
}

#[test]
fn what_is_damaged_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let (web, app) = (Arc::new(message("web", 1)), Arc::new(message("app", 1)));
    let sources = [("app", loaded(&app)), ("web", loaded(&web))];
    let beside = Beside { epoch: 4, ..Beside::default() };
    open(home.path()).0.save(&applied(&sources, &[], true), &beside);
    let folder = home.path().join("operator/sources");
    let file = folder.join("prod.web.pb");
    let whole = fs::read(&file).unwrap();
    fs::write(folder.join("prod.web.pb.new"), "half").unwrap();
    let damaged: [&[u8]; 4] = [b"", b"short", &whole[..whole.len() - 9], &[0; 64]];
    for bytes in damaged {
        fs::write(&file, bytes).unwrap();
        let kept = open(home.path()).1;
        assert_eq!(kept.sources.keys().collect::<Vec<_>>(), [&id("app")]);
        // It is known to be there.
        assert!(kept.complete && kept.known.present.contains(&id("web")));
    }
    // It is written again when it is told again.
    let (mut cache, _) = open(home.path());
    cache.save(&applied(&sources, &[], true), &beside);
    assert_eq!(fs::read(&file).unwrap(), whole);

    fs::write(home.path().join("operator/about.json"), "{").unwrap();
    assert_eq!(open(home.path()).1, Kept::default());
}
