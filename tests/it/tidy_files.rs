//! How files look: each says what lives in it, is reached from a `mod`, and is small.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use segment_source_tests::process::root;

/// Every .rs file of the repository, without what Cargo makes.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["proto", "crds", "service", "operator", "tests"] {
        walk(&root().join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 50, "{} files were found", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source is UTF-8");
            found.push((path, text));
        }
    }
}

fn is_test(path: &Path) -> bool {
    let named = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    named || path.components().any(|part| part.as_os_str() == "tests")
}

/// Lines before the unit tests at the end.
fn length(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

#[test]
fn every_file_says_what_lives_there() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("//! ").is_some_and(|rest| rest.len() > 10);
        assert!(says, "{} begins with `{first}`, not with `//!` and a sentence", path.display());
    }
}

#[test]
fn files_stay_small() {
    let mut lengths = Vec::new();
    for (path, text) in sources() {
        let lines = length(&text);
        assert!(lines <= 600 || is_test(&path), "{} has {lines} lines", path.display());
        if !is_test(&path) {
            lengths.push(lines);
        }
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 150, "half of the files have more than {median} lines");
}

#[test]
fn every_file_is_reached_from_a_mod() {
    let sources = sources();
    let mut reached = BTreeSet::new();
    for (path, text) in &sources {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let folder = path.parent().expect("a folder");
        // What Cargo itself reads: crate roots, build scripts, integration tests.
        let package = folder.join("Cargo.toml").is_file() || folder.join("../Cargo.toml").is_file();
        let test = folder.join("../../Cargo.toml").is_file()
            && folder.parent().is_some_and(|parent| parent.ends_with("tests"));
        if package && (matches!(name, "lib" | "main" | "build") || folder.ends_with("tests"))
            || test && name == "main"
        {
            reached.insert(path.clone());
        }
        let inner = match name {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => folder.join(name),
        };
        for line in text.lines() {
            let line = line.trim_start();
            if let Some(elsewhere) =
                line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"))
            {
                reached.insert(folder.join(elsewhere));
            }
            let declared = ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
                .iter()
                .find_map(|start| line.strip_prefix(start)?.strip_suffix(';'));
            if let Some(module) = declared {
                reached.insert(inner.join(format!("{module}.rs")));
                reached.insert(inner.join(module).join("mod.rs"));
            }
        }
    }
    for (path, _) in sources {
        assert!(reached.contains(&path), "no mod reaches {}", path.display());
    }
}
