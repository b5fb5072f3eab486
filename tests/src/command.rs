//! The program's other commands: run to their end, with all that they say.

use std::process::Stdio;

use serde_json::Value;

use crate::{process::binary, wait::soon};

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Each line of standard output as JSON.
    ///
    /// # Panics
    /// When a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line);
        let lines: Result<_, _> = self.out.lines().map(parse).collect();
        lines.unwrap_or_else(|error| panic!("{error} in {}{}", self.out, self.err))
    }

    /// Standard output and error as one text.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// With all that was said, when it is another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said());
        self
    }
}

/// Runs `segment-source` with these arguments and nothing on standard input.
///
/// # Panics
/// When it does not end.
pub async fn run(arguments: &[&str]) -> Finished {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the command ends", command.output()).await.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
