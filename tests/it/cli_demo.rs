//! `demo`: a first look. It tells its story, keeps serving, ends cleanly, and goes on next time.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use segment_source_tests::{command::run, process::binary, site::Site, wait::PATIENCE};

/// A running demo; killed when the test ends before it.
struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: String,
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(binary());
        command.arg("demo").arg("--dir").arg(folder);
        for listener in ["--http", "--grpc", "--admin"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("it starts");
        let lines = lines(child.stdout.take().expect("piped"));
        Self { child, lines, said: String::new() }
    }

    /// Reads until everything said so far satisfies `enough`.
    fn until(&mut self, what: &str, enough: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !enough(&self.said) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said += &format!("{line}\n"),
                Err(error) => panic!("{error}: no {what} in:\n{}", self.said),
            }
        }
    }

    /// The word of the first line that has `name` as its first word.
    fn value(&self, name: &str) -> String {
        let line = self.said.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in:\n{}", self.said));
        line.split_whitespace().nth(1).expect("a value").to_owned()
    }

    fn interrupt(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::INT).expect("it takes signals");
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(10)),
            }
            assert!(Instant::now() < end, "Ctrl-C does not end it:\n{}", self.said);
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

fn lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_story_and_goes_on_next_time() {
    let site = Site::new();
    let folder = site.path().join("demo");
    let mut demo = Demo::start(&folder);
    demo.until("next commands", |said| said.contains("events list"));
    for part in ["identify", "track/", "duplicate", "202"] {
        assert!(demo.said.contains(part), "no {part} in:\n{}", demo.said);
    }
    // What the identify left in the directory comes back by itself and with the action.
    let known = r#"user example-user  {"email":"user@example.com","name":"Example User"}"#;
    assert!(demo.said.contains("users_identify -> directory (delivered)"), "{}", demo.said);
    assert_eq!(demo.said.matches(known).count(), 2, "{}", demo.said);
    // It goes on serving what it says it serves.
    let grpc = demo.value("gRPC");
    let get = ["directory", "get", "user", "example-user", "--server", &grpc, "--output", "json"];
    let profile = run(&get).await.exits(0).json_lines();
    assert_eq!(profile[0]["properties"]["email"], "user@example.com");
    let missing = run(&["directory", "get", "user", "nobody", "--server", &grpc]).await.exits(1);
    assert!(missing.said().contains("has no such entry"), "{}", missing.said());
    let list = ["events", "list", "--server", &grpc, "--output", "json"];
    let events = run(&list).await.exits(0).json_lines();
    assert_eq!(events.len(), 3, "an identify, a track, and the track again");
    let pull = ["actions", "pull", "--expand", "--server", &grpc, "--output", "json"];
    let pulled = run(&pull).await.exits(0).json_lines();
    assert_eq!(pulled.len(), 1, "the workflow action waits to be read: {pulled:?}");
    assert_eq!(pulled[0]["recipients"][0]["properties"]["name"], "Example User");
    demo.interrupt();

    let mut demo = Demo::start(&folder);
    demo.until("next commands", |said| said.contains("events list"));
    let grpc = demo.value("gRPC");
    let list = ["events", "list", "--server", &grpc, "--output", "json"];
    let again = run(&list).await.exits(0).json_lines();
    assert!(again.len() > events.len(), "new ones were sent");
    for event in events {
        let id = &event["event_id"];
        assert!(again.iter().any(|other| other["event_id"] == *id), "{id} is lost");
    }
    demo.interrupt();
}
