//! The token of whoever runs the program, read from a file (`--platform-token`) and followed there.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use segment_source_rpc::Token;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the file is read. A look at one small file costs less than a watch, and cannot miss a
/// change.
const REREAD: Duration = Duration::from_secs(1);

/// No token is longer; a file that is was named by mistake.
const LONGEST: u64 = 4 << 10;

/// Keeps the token as the file is.
#[derive(Debug)]
pub(crate) struct Follower {
    file: PathBuf,
    token: watch::Sender<Option<Token>>,
    /// What was wrong with the file when it was read last.
    said: Option<String>,
}

/// Reads the file; the follower keeps the token up to date. A file that is missing or empty is no
/// reason not to start: no token matches until it has one.
pub(crate) async fn open(
    file: &Path,
) -> anyhow::Result<(watch::Receiver<Option<Token>>, Follower)> {
    let (token, seen) = watch::channel(None);
    let mut follower = Follower { file: file.to_owned(), token, said: None };
    follower.read().await?;
    Ok((seen, follower))
}

impl Follower {
    /// Follows the file until `stop`.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut reread = interval(REREAD);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = reread.tick() => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let file = self.file.clone();
        let (token, problem) = match spawn_blocking(move || content(&file)).await? {
            Ok(token) => (Some(token), None),
            Err(problem) => (None, Some(problem)),
        };
        if let Some(problem) = problem.as_ref().filter(|_| self.said != problem) {
            let file = self.file.display();
            warn!("--platform-token {file}: {problem}; no platform token is accepted until it is");
        }
        self.said = problem;
        let changed =
            self.token.send_if_modified(|before| std::mem::replace(before, token) != token);
        if changed && token.is_some() {
            info!("platform token read");
        }
        Ok(())
    }
}

/// The token in the file, or what has to be done first, for people.
fn content(file: &Path) -> Result<Token, String> {
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("must be readable ({error})")),
        Ok(length) if length as u64 > LONGEST => {
            Err(format!("must hold a token of at most {LONGEST} bytes and nothing else"))
        }
        Ok(_) => Token::new(&bytes).ok_or_else(|| "must not be empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use segment_source_rpc::Token;
    use tokio_util::sync::CancellationToken;

    use super::open;

    #[tokio::test]
    async fn the_token_is_as_the_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let (mut token, follower) = open(&file).await.unwrap();
        assert_eq!(*token.borrow(), None, "there is no file");
        let stop = CancellationToken::new();
        let following = tokio::spawn(follower.run(stop.clone()));
        for (content, expected) in [
            ("first\n", Token::new(b"first")),
            ("second", Token::new(b"second")),
            (" \n", None),
            ("third", Token::new(b"third")),
            (&"x".repeat(5_000), None),
        ] {
            fs::write(folder.path().join("new"), content).unwrap();
            fs::rename(folder.path().join("new"), &file).unwrap();
            token.wait_for(|token| *token == expected).await.unwrap();
        }
        stop.cancel();
        following.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_token_that_is_there_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "first").unwrap();
        let (token, _follower) = open(&file).await.unwrap();
        assert_eq!(*token.borrow(), Token::new(b"first"));
    }
}
