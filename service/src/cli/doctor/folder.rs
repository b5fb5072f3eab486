//! The report about a folder: whether it is there, may be written to, has room, and is one that this
//! version reads. Unless another process has it, it is opened as `serve` would open it.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use segment_source_store::{
    embedded::{OpenError, Options, Store},
    redis::check::Severity,
    system_clock,
};
use tokio::task::spawn_blocking;

use super::report::{Report, Row};

/// What every folder of the engine has; one without it holds no store yet.
const MARK: &str = "version";

/// Looks at the folder.
///
/// # Errors
/// When it cannot be looked at at all.
pub(super) async fn look(folder: &Path) -> anyhow::Result<Report> {
    let path = folder.to_owned();
    let (mut findings, open) = spawn_blocking(move || around(&path)).await?;
    if open {
        findings.extend(inside(folder.to_owned()).await?);
    }
    findings.sort_by_key(|row| row.severity);
    Ok(Report {
        store: folder.display().to_string(),
        kind: "folder",
        servers: Vec::new(),
        durability: "synced",
        findings,
    })
}

fn row(severity: Severity, code: &'static str, wrong: String, change: &str) -> Row {
    Row { code, severity, at: Vec::new(), wrong, change: change.to_owned() }
}

/// What can be seen without opening it, and whether there is something to open.
fn around(folder: &Path) -> (Vec<Row>, bool) {
    let mut findings = Vec::new();
    let shown = folder.display();
    if folder.exists() && !folder.is_dir() {
        let wrong = format!("{shown} is no folder");
        findings.push(row(Severity::Error, "folder", wrong, "give --store another path"));
        return (findings, false);
    }
    let holds = folder.join(MARK).exists();
    if !folder.exists() {
        let wrong = format!("{shown} does not exist; serve makes it");
        findings.push(row(Severity::Note, "missing", wrong, ""));
    } else if !holds {
        let wrong = format!("{shown} holds no store yet; serve makes one");
        findings.push(row(Severity::Note, "empty", wrong, ""));
    }
    let there = existing(folder);
    let writable = access(&there, Access::WRITE_OK | Access::EXEC_OK);
    if let Err(error) = writable {
        let wrong = format!("{} cannot be written to: {error}", there.display());
        let change = "give it to the user that runs serve, on a file system that is not read-only";
        findings.push(row(Severity::Error, "writable", wrong, change));
    }
    match statvfs(&there) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let reserve = Options::default().reserve;
            if free < reserve {
                let wrong = format!(
                    "{} MiB are free, and {} MiB are kept in reserve: nothing new is accepted",
                    free >> 20,
                    reserve >> 20
                );
                findings.push(row(Severity::Error, "space", wrong, "free disk space"));
            }
        }
        Err(error) => {
            let wrong = format!("cannot be seen: free space ({error})");
            findings.push(row(Severity::Note, "unseen", wrong, ""));
        }
    }
    (findings, holds && writable.is_ok())
}

/// The folder, or the one above it that there is.
fn existing(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = whole.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

/// What opening it tells.
async fn inside(folder: PathBuf) -> anyhow::Result<Option<Row>> {
    let opened =
        spawn_blocking(move || Store::open(&folder, Options::default(), system_clock())).await?;
    let error = match opened {
        Ok(store) => {
            store.close().await;
            return Ok(None);
        }
        Err(error) => error,
    };
    let (severity, code) = match &error {
        OpenError::Locked { .. } => {
            let wrong = "it is in service: another process has it".to_owned();
            return Ok(Some(row(Severity::Note, "in_use", wrong, "")));
        }
        OpenError::Newer { .. } | OpenError::OtherEngine { .. } => (Severity::Error, "format"),
        OpenError::Io { .. } => (Severity::Error, "open"),
        OpenError::Damaged { .. } => (Severity::Error, "damaged"),
    };
    Ok(Some(row(severity, code, error.to_string(), "")))
}
