//! The commands that talk to a running server: send, events, rehearse, actions.

use std::{fs, process::Stdio};

use segment_source_tests::{
    command::run,
    http::{Request, call},
    manifest::{identify_mapping, welcome_mapping},
    process::binary,
    server::{Server, target},
    sign::{SECRET, fresh_id, sign, track},
    site::Site,
    wait::{eventually, soon},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn start() -> (Site, Server) {
    let site = Site::with_web(json!({
        "verification": {"batches": {"policy": "WholeBody"}},
        "mappings": [identify_mapping(), welcome_mapping()],
    }));
    let server = site.start().await;
    (site, server)
}

#[tokio::test]
async fn what_is_sent_can_be_listed_and_shown_while_the_server_runs() {
    let (site, server) = start().await;
    let url = format!("http://{}", server.http);
    let config = site.config().display().to_string();
    let grpc = server.grpc.to_string();
    let from_config = ["--source", "test/web", "--config", &config, "--url", &url];
    let send = |more: &'static [&'static str]| {
        let mut arguments = vec!["send", "--output", "json"];
        arguments.extend(from_config);
        arguments.extend(more);
        async move { run(&arguments).await }
    };
    let sent = send(&["--event", "Signed Up", "--user", "user-1", "--message-id", "m-1"]).await;
    let answer = sent.exits(0).json_lines().remove(0);
    assert_eq!(answer["status"], 202);
    assert_eq!(answer["body"], json!({"accepted": 1, "duplicate": 0}));
    send(&["--type", "identify", "--user", "user-2", "--trait", "name=Ada"]).await.exits(0);
    let again = send(&["--event", "Signed Up", "--user", "user-1", "--message-id", "m-1"]).await;
    assert_eq!(again.exits(0).json_lines()[0]["body"]["duplicate"], 1);
    server.planned("web", "m-1").await;

    let list = |more: &[&str]| {
        let mut arguments =
            vec!["events", "list", "--server", &grpc, "--source", "test/web", "--output", "json"];
        arguments.extend(more);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&arguments).await.exits(0).json_lines()
        }
    };
    let all = list(&[]).await;
    let types: Vec<&Value> = all.iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, ["track/Signed Up", "identify", "track/Signed Up"], "newest first");
    assert_eq!(list(&["--key", "m-1", "--outcome", "duplicate"]).await.len(), 1);
    assert_eq!(list(&["--user", "user-2"]).await.len(), 1);
    assert_eq!(list(&["--type", "identify"]).await.len(), 1);
    assert_eq!(list(&["--limit", "1"]).await.len(), 1);
    assert_eq!(list(&["--until", "1h"]).await.len(), 0);

    let id = all[2]["event_id"].as_str().expect("an id");
    let shown = run(&["events", "show", id, "--server", &grpc, "--output", "json"]).await;
    let shown = shown.exits(0).json_lines().remove(0);
    assert_eq!(shown["verdict"], "verified_body");
    let text = run(&["events", "show", id, "--server", &grpc]).await.exits(0).out;
    for part in ["track/Signed Up", "m-1", "welcome", "workflows_trigger", "verified_body"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    let missing = "000000000000-0000-0000000000000000";
    let unknown = run(&["events", "show", missing, "--server", &grpc]).await.exits(1);
    assert!(unknown.err.contains(missing), "{}", unknown.err);
}

#[tokio::test]
async fn a_file_with_an_array_is_sent_as_a_batch() {
    let (site, server) = start().await;
    let file = site.path().join("batch.json");
    let events = json!([
        track(&fresh_id(), "user-1", "Signed Up"),
        track(&fresh_id(), "user-2", "Signed Up"),
    ]);
    fs::write(&file, events.to_string()).expect("written");
    let file = file.display().to_string();
    let url = format!("http://{}{}", server.http, target("web"));
    let send = ["send", "--url", &url, "--secret", SECRET, "--file", &file, "--output", "json"];
    // Signed over its first element, which this source does not take.
    let refused = run(&send).await.exits(1).json_lines().remove(0);
    assert_eq!(refused["status"], 503);
    let whole = [send.as_slice(), &["--whole-body"]].concat();
    let answer = run(&whole).await.exits(0).json_lines().remove(0);
    assert_eq!(answer["body"], json!({"accepted": 2, "duplicate": 0}));
}

#[tokio::test]
async fn tail_prints_events_as_they_come() {
    let (_site, server) = start().await;
    let mut command = tokio::process::Command::new(binary());
    let grpc = server.grpc.to_string();
    command.args(["events", "tail", "--server", &grpc, "--source", "test/web"]);
    command.args(["--output", "json"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut tail = command.spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    // It begins with "now", which is when its call arrives; so events are sent until one is seen.
    let first = {
        let send = async {
            loop {
                server.post("web", track(&fresh_id(), "user-1", "Signed Up").to_string()).await;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            line = soon("a line", lines.next_line()) => line.expect("readable").expect("a line"),
            () = send => String::new(),
        }
    };
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(first["event_type"], "track/Signed Up");
    let id = fresh_id();
    server.post("web", track(&id, "user-1", "Last").to_string()).await;
    loop {
        let line = soon("the last one", lines.next_line()).await.expect("readable");
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        if event["key"] == json!(id) {
            assert_eq!(event["event_type"], "track/Last");
            return;
        }
    }
}

#[tokio::test]
async fn rehearse_says_the_same_from_a_folder_and_from_a_server() {
    let (site, server) = start().await;
    let file = site.path().join("event.json");
    fs::write(&file, track("m-1", "user-1", "Signed Up").to_string()).expect("written");
    let (file, config) = (file.display().to_string(), site.config().display().to_string());
    let grpc = server.grpc.to_string();
    let rehearse = ["rehearse", "--source", "test/web", "--event", &file];
    let json_from = |more: [&str; 2]| {
        let arguments = [&rehearse, more.as_slice(), &["--output", "json"]].concat();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&arguments).await.exits(0).json_lines().remove(0)
        }
    };
    let folder = json_from(["--config", &config]).await;
    assert_eq!(folder, json_from(["--server", &grpc]).await);
    assert_eq!((&folder["event_type"], &folder["key"]), (&json!("track/Signed Up"), &json!("m-1")));
    let matched = |name: &str| {
        let mappings = folder["mappings"].as_array().expect("a list");
        let mapping = mappings.iter().find(|mapping| mapping["mapping"] == name);
        mapping.expect("every mapping is named").clone()
    };
    assert_eq!(matched("welcome")["action"]["payload"]["recipients"], json!(["user-1"]));
    assert_eq!(matched("people")["matched"], json!(false));
    assert!(!matched("people")["reason"].as_str().expect("a reason").is_empty());
    assert_eq!(server.events("web").await.len(), 0, "nothing is stored");
    assert!(server.pull("web", 1, std::time::Duration::ZERO).await.is_empty());
    let other = ["rehearse", "--source", "test/other", "--event", &file, "--server", &grpc];
    assert!(run(&other).await.exits(1).err.contains("test/other"));
}

#[tokio::test]
async fn actions_can_be_read_without_writing_a_program() {
    let (_site, server) = start().await;
    for _ in 0..2 {
        server.post("web", track(&fresh_id(), "user-1", "Signed Up").to_string()).await;
    }
    let grpc = server.grpc.to_string();
    let pull = ["actions", "pull", "--server", &grpc, "--output", "json", "--wait", "20s"];
    let look = run(&pull).await.exits(0).json_lines();
    assert_eq!(look[0]["payload"]["workflow"], "welcome");
    let acked = run(&[pull.as_slice(), &["--ack"]].concat()).await.exits(0).json_lines();
    assert_eq!(acked[0]["action_id"], look[0]["action_id"], "a look takes nothing away");
    eventually("both are done", || async {
        let pull = ["actions", "pull", "--server", &grpc, "--output", "json", "--ack"];
        run(&pull).await.exits(0).json_lines().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listed = run(&["events", "list", "--server", "127.0.0.1:1", "--source", "test/web"]).await;
    assert!(listed.exits(1).err.contains("127.0.0.1:1"));
    let url = "http://127.0.0.1:1/v1/sources/test/web";
    let sent = run(&["send", "--url", url, "--secret", SECRET, "--event", "E"]).await.exits(1);
    assert!(sent.err.contains("127.0.0.1:1"), "{}", sent.err);
    assert!(!sent.said().contains(SECRET));
}

#[tokio::test]
async fn health_metrics_and_reflection_answer() {
    let (_site, server) = start().await;
    let body = track(&fresh_id(), "user-1", "Signed Up").to_string();
    server.post("web", &body).await;
    let wrong = sign(b"another", body.as_bytes());
    server.post_signed("web", body.as_bytes(), &wrong).await;
    let metrics = server.get("/metrics").await.expect("metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("segment_source_"), "{}", metrics.text());
    assert!(!metrics.text().contains(SECRET));
    assert_eq!(server.get("/nothing").await.expect("an answer").status, 404);
    let reply = call(server.admin, &Request::new("POST", "/ready")).await;
    assert_eq!(reply.status, 405);

    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut health = HealthClient::new(server.channel().await);
    let status = health.check(HealthCheckRequest { service: String::new() }).await;
    let status = status.expect("health answers").into_inner().status();
    assert_eq!(status, tonic_health::ServingStatus::Serving.into());

    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let stream = reflection.server_reflection_info(tokio_stream::iter([request])).await;
    let answer = stream.expect("reflection answers").into_inner().message().await;
    let answer = answer.expect("an answer").expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["ingest.v1.Ingest", "queue.v1.Queue", "admin.v1.Admin"] {
        let name = format!("segmentsource.{name}");
        assert!(names.contains(&name.as_str()), "no {name} in {names:?}");
    }
}
