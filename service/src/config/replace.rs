//! Writes small files so that a reader finds the old or the new one, never a part.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Ends the name of a file that is being written.
pub(crate) const BESIDE: &str = ".new";

/// Whether a file must outlive the machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlives {
    /// The process: enough where a reader can tell a whole file from a part.
    Process,
    /// A power cut.
    Power,
}

/// Replaces a file, written beside and renamed; only its owner may read it. Makes its folder.
pub(crate) fn replace(file: &Path, bytes: &[u8], outlives: Outlives) -> io::Result<()> {
    let beside = beside(file);
    match write(&beside, bytes, outlives) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            write(&beside, bytes, outlives)?;
        }
        written => written?,
    }
    fs::rename(&beside, file)
}

fn write(file: &Path, bytes: &[u8], outlives: Outlives) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    // One that was left behind keeps the mode it had.
    open.set_permissions(Permissions::from_mode(0o600))?;
    open.write_all(bytes)?;
    match outlives {
        Outlives::Process => Ok(()),
        Outlives::Power => open.sync_all(),
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(BESIDE);
    name.into()
}
