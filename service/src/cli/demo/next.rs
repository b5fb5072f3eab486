//! The commands a newcomer can try, exactly as they have to be typed.

use std::path::Path;

use super::{
    Endpoints,
    folder::{Folder, SOURCE},
    story::Story,
};
use crate::cli::typed::{program, quote};

fn path(path: &Path) -> String {
    quote(&path.display().to_string())
}

/// The commands, each with a line on what it is good for.
pub(super) fn commands(folder: &Folder, endpoints: Endpoints, story: &Story) -> String {
    commands_of(&program(), folder, endpoints, story.track_id())
}

fn commands_of(program: &str, folder: &Folder, endpoints: Endpoints, track: &str) -> String {
    let flag = |flag: &str, value: String, default: &str| match value == default {
        true => String::new(),
        false => format!(" {flag} {value}"),
    };
    let server = flag("--server", endpoints.grpc.to_string(), "127.0.0.1:9090");
    let url = flag("--url", format!("http://{}", endpoints.http), "http://127.0.0.1:8080");
    let (sources, event) = (path(&folder.sources()), path(&folder.event()));
    let (namespace, name) = SOURCE.split_once('/').unwrap_or((SOURCE, ""));
    let (grpc, admin) = (endpoints.grpc, endpoints.admin);
    let queue = format!(r#"{{"queue": {{"namespace": "{namespace}", "name": "{name}"}}}}"#);
    let steps = [
        (
            "Take the actions, as a service of yours would",
            format!("{program} actions pull --expand --ack{server}"),
        ),
        ("Read the profiles", format!("{program} directory list users{server}")),
        (
            "Send an event of your own",
            format!(
                "{program} send --config {sources} --source {SOURCE}{url} --event \"User Signed Up\" \
                 --user example-user-2 --property plan=free"
            ),
        ),
        ("Look at the log", format!("{program} events list{server}")),
        ("See everything about the track event", format!("{program} events show {track}{server}")),
        (
            "Ask what an event would do, before it is sent",
            format!("{program} rehearse --source {SOURCE} --event {event}{server}"),
        ),
        ("Metrics", format!("curl -s http://{admin}/metrics")),
        (
            "The same queue with grpcurl (payload_json is Base64 there)",
            format!("grpcurl -plaintext -d '{queue}' {grpc} segmentsource.queue.v1.Queue/Pull"),
        ),
    ];
    let steps: Vec<String> =
        steps.iter().map(|(what, command)| format!("  # {what}\n  {command}")).collect();
    format!(
        "Serving. In another terminal, from this folder, try:\n\n{}\n\nCtrl-C stops.",
        steps.join("\n\n")
    )
}

#[cfg(test)]
mod tests {
    use super::{Endpoints, Folder, commands_of};

    #[test]
    fn addresses_are_named_only_when_they_are_not_the_defaults() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(&parent.path().join("demo")).unwrap();
        let commands = |ports: [u16; 3]| {
            let [http, grpc, admin] = ports.map(|port| ([127, 0, 0, 1], port).into());
            commands_of("segment-source", &folder, Endpoints { http, grpc, admin }, "ID")
        };
        let default = commands([8080, 9090, 9091]);
        assert!(default.contains("  segment-source actions pull --expand --ack\n"), "{default}");
        assert!(!default.contains("--url"), "{default}");
        let other = commands([1, 2, 3]);
        assert!(other.contains("actions pull --expand --ack --server 127.0.0.1:2\n"), "{other}");
        assert!(other.contains("--url http://127.0.0.1:1 "), "{other}");
        assert!(other.contains("http://127.0.0.1:3/metrics"), "{other}");
    }
}
