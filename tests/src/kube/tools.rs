//! Where the programs of Kubernetes are, and what happens when they are not there. They are built by
//! `tests/tools/build`; `KUBEBUILDER_ASSETS` names a folder with ready-made ones.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

/// Which Kubernetes release the API server is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The oldest that is supported.
    Oldest,
    /// The newest that is supported.
    Newest,
}

impl Version {
    /// The name of its API server's binary.
    #[must_use]
    pub fn api_server(self) -> &'static str {
        match self {
            Self::Oldest => "kube-apiserver-oldest",
            Self::Newest => "kube-apiserver",
        }
    }
}

/// The program of this name (`kubectl`, `helm`, `kubeconform`, ...), when it is there.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
    let built = cache.map(|cache| cache.join("segment-source/tools/bin"));
    [assets, built].into_iter().flatten().map(|folder| folder.join(name)).find(|it| it.is_file())
}

/// The program of this name.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("there is no {name}: run `tests/tools/build {name}` first"))
}

/// Whether all of these programs are there. Otherwise the caller has nothing to test with and
/// returns, after a line that says so.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
#[must_use]
pub fn available(names: &[&str]) -> bool {
    let missing: Vec<_> = names.iter().copied().filter(|name| find(name).is_none()).collect();
    missing.is_empty()
        || skipped(&format!("{} missing; tests/tools/build makes them", missing.join(", ")))
}

/// Says that a test is skipped, past the captured output; `false`.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
#[must_use]
pub fn skipped(reason: &str) -> bool {
    assert!(env::var("CI").as_deref() != Ok("true"), "nothing is skipped when CI=true: {reason}");
    _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
    false
}
