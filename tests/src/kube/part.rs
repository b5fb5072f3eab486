//! One process that the keeper runs: started, stopped, started again; its output goes to a file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// A process with everything that is needed to start it again.
#[derive(Debug)]
pub struct Part {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Part {
    /// A process that is not running yet; its log is `<folder>/<name>.log`.
    #[must_use]
    pub fn new(folder: &Path, name: &str, program: PathBuf, arguments: Vec<String>) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self { name: name.to_owned(), program, arguments, log, child: None }
    }

    /// Its name, which commands to the keeper say.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it. It is killed when the calling thread ends, so that must be the main thread.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run setpriv (package util-linux)")?;
        self.child = Some(child);
        Ok(())
    }

    /// Fails, with what it said last, when it has ended by itself.
    ///
    /// # Errors
    /// As said.
    pub fn runs(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) => match child.try_wait()? {
                None => Ok(()),
                Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.tail()),
            },
            None => bail!("{} is not running", self.name),
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Kills it and waits until it is gone. Nothing of it is worth a graceful end, which takes an API
    /// server more than ten seconds.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; both are fine then.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}
