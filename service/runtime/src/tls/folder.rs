//! An identity that is kept in a folder, such as a mounted Secret, and followed there.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Identities, Identity};
use crate::watch::Watch;

/// How often the folder is read without being told, in case a change was missed.
const REREAD: Duration = Duration::from_secs(30);

/// The three files as they were read last.
type Files = [Vec<u8>; 3];

/// Keeps an identity as its folder is.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    watch: Watch,
    read: Files,
    identity: watch::Sender<Arc<Identity>>,
}

/// Reads `tls.crt`, `tls.key` and `ca.crt` of a folder; the follower keeps the identity up to date.
///
/// # Errors
/// Names the file that is missing or wrong.
pub fn open(folder: &Path) -> anyhow::Result<(Identities, Follower)> {
    // Watched before it is read: nothing can happen in between.
    let watch = Watch::new(folder);
    let read = files(folder)?;
    let (identity, identities) = watch::channel(Arc::new(identity(folder, &read)?));
    Ok((identities, Follower { folder: folder.to_owned(), watch, read, identity }))
}

impl Follower {
    /// Follows the folder until `stop`. What cannot be read or is wrong is logged, and what was
    /// read before stays in use.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut reread = interval(REREAD);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.watch.changed() => {}
                _ = reread.tick() => {}
            }
            // The folder at this path may be another one now.
            self.watch.attach();
            let folder = self.folder.clone();
            // Only fails when the runtime ends.
            let Ok(found) = spawn_blocking(move || files(&folder)).await else { return };
            let problem = found.and_then(|files| self.take(files)).err();
            let problem = problem.map(|problem| format!("{problem:#}"));
            if let Some(problem) = problem.as_ref().filter(|_| said != problem) {
                warn!("{problem}; the certificate read before stays in use");
            }
            said = problem;
        }
    }

    fn take(&mut self, files: Files) -> anyhow::Result<()> {
        if files != self.read {
            let identity = identity(&self.folder, &files)?;
            info!(folder = %self.folder.display(), roles = %identity.roles(), "certificate read");
            self.identity.send_replace(Arc::new(identity));
            self.read = files;
        }
        Ok(())
    }
}

fn files(folder: &Path) -> anyhow::Result<Files> {
    let read = |name| {
        let file = folder.join(name);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    Ok([read("tls.crt")?, read("tls.key")?, read("ca.crt")?])
}

fn identity(folder: &Path, [certificate, key, ca]: &Files) -> anyhow::Result<Identity> {
    Identity::from_pem(certificate, key, ca)
        .with_context(|| format!("the certificate in {} cannot be used", folder.display()))
}
