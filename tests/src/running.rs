//! A process that a test has started: its log, its signals, its end. What it says and how it is
//! asked is known to those who start it (`server`, `operator`).

use std::{
    fmt::Write,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{PATIENCE, eventually, soon};

/// A running process. Dropping it kills it, and shows its log when the test failed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: Log,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts it, with its output going to the log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Log::default();
        log.collect(child.stdout.take().expect("stdout is piped"));
        log.collect(child.stderr.take().expect("stderr is piped"));
        Self { child, log, ended: None }
    }

    /// Waits for a line of the log from which `take` gets something.
    ///
    /// # Panics
    /// With the log, when there is none.
    pub async fn said<T>(&mut self, what: &str, take: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.log.find(&take) {
                return found;
            }
            assert!(self.exited().is_none(), "it ended at once:\n{}", self.log());
            assert!(Instant::now() < end, "it did not say {what}:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it was neither killed here nor seen to end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a line of the log satisfies `wanted`.
    pub async fn logged(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let found = || async { self.log().lines().find(|line| wanted(line)).map(str::to_owned) };
        eventually(what, found).await
    }

    /// Kills it as the system does when memory is out, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.child.kill().expect("the process can be killed");
            self.ended = Some(self.child.wait().expect("the process is ours"));
        }
    }

    /// Asks it to end, as Kubernetes does, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to end, as Ctrl-C does, without waiting.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Stops it as it stands; it does not know.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Running::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let end = async {
            loop {
                match self.exited() {
                    Some(status) => break status,
                    None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        };
        soon("the program ends", end).await
    }

    /// The exit status, when it has ended.
    ///
    /// # Panics
    /// When the process is not ours.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the process is ours");
        }
        self.ended
    }

    fn signal(&self, signal: Signal) {
        // Once waited for, the id may be somebody else's.
        assert!(self.ended.is_none(), "it has ended already:\n{}", self.log());
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process takes signals");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let mut text = String::new();
            let lines = self.log();
            let skipped = lines.lines().count().saturating_sub(80);
            for line in lines.lines().skip(skipped) {
                _ = writeln!(text, "  {line}");
            }
            // Through the captured output of the test.
            #[expect(clippy::print_stderr, reason = "shown with the failure of the test")]
            {
                eprintln!("log of process {} (last 80 lines):\n{text}", self.pid());
            }
        }
    }
}

/// Lines of output, collected by a thread for each stream until the stream ends.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn collect(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().expect("no panic while locked").push(line);
            }
        });
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic while locked").join("\n")
    }

    fn find<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.lock().expect("no panic while locked").iter().find_map(|line| wanted(line))
    }
}
