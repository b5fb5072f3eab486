//! The demo's folder: manifests, a secret of its own, an example event and the store. What is there
//! is left as it is, so that people can edit it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};

/// The example source.
pub(super) const SOURCE: &str = "demo/web";

/// An example manifest: two mappings, everything else by default.
const MANIFEST: &str = include_str!("source.yaml");

/// An event to play with.
const EVENT: &str = include_str!("event.json");

/// The folder, with everything in it.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    is_new: bool,
}

impl Folder {
    /// Creates what is missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn prepare(root: &Path) -> anyhow::Result<Self> {
        let folder = Self { root: root.to_owned(), is_new: !root.join("sources").exists() };
        let sources = folder.sources();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&sources);
        made.with_context(|| format!("cannot create {}", sources.display()))?;
        create(&folder.manifest(), 0o644, || Ok(MANIFEST.to_owned()))?;
        create(&sources.join("web-secret.yaml"), 0o600, secret)?;
        create(&folder.event(), 0o644, || Ok(EVENT.to_owned()))?;
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is its first use.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The manifests.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// The manifest of the example source.
    pub(super) fn manifest(&self) -> PathBuf {
        self.sources().join("web.yaml")
    }

    /// The event to play with.
    pub(super) fn event(&self) -> PathBuf {
        self.root.join("event.json")
    }

    /// The embedded store.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("data")
    }
}

/// Writes a file unless there is one.
fn create(
    file: &Path,
    mode: u32,
    content: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let content = content()?;
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        file.write_all(content.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// A Secret manifest with fresh random bytes in it.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random bytes: {error}"))?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "# The signing secret of demo/web; made by `segment-source demo` for this folder only.\n\
         apiVersion: v1\n\
         kind: Secret\n\
         metadata:\n  name: web\n  namespace: demo\n\
         stringData:\n  signing-secret: \"{secret}\"\n"
    ))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::Folder;

    #[test]
    fn a_second_start_finds_the_folder_as_it_was_left() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("demo");
        let first = Folder::prepare(&root).unwrap();
        assert!(first.is_new());
        let secret = first.sources().join("web-secret.yaml");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&secret).unwrap();
        fs::write(first.manifest(), "edited").unwrap();

        let second = Folder::prepare(&root).unwrap();
        assert!(!second.is_new());
        assert_eq!(fs::read(&secret).unwrap(), before);
        assert_eq!(fs::read(second.manifest()).unwrap(), b"edited");
    }
}
