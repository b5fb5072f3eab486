//! Tokens that come, change and go while the program runs, also under calls that are open; and what
//! belongs to one source alone.

use std::fs;

use segment_source_proto::{
    admin::v1::{ListSourcesRequest, TailEventsRequest, TailEventsResponse},
    event::v1::Verdict,
    ingest::v1::{
        SubmitRequest, SubmitStreamRequest, ingest_client::IngestClient, submit_result::Outcome,
    },
    queue::v1::{ConsumeRequest, SettleRequest, Start, consume_request, settlement_result::Status},
};
use segment_source_tests::{
    command::run,
    manifest::{NAMESPACE, secret},
    read::{ack, queue_name},
    wait::{eventually, soon},
};
use tonic::{Code, Streaming};

use crate::access_site::{Guarded, Identity, RIGHTS, submission, token, write};

impl Guarded {
    async fn tail(&self, identity: &Identity) -> Streaming<TailEventsResponse> {
        let request = TailEventsRequest { namespace: NAMESPACE.into(), name: "app".into() };
        let tail = self.admin(identity).tail_events(identity.ask(request)).await;
        tail.expect("the tail begins").into_inner()
    }

    /// Waits until the token is known, or is not.
    async fn known(&self, identity: &Identity, known: bool) {
        let admin = self.admin(identity);
        eventually("the token is as it should be", || {
            let mut admin = admin.clone();
            async move {
                let answer = admin.list_sources(identity.ask(ListSourcesRequest {})).await;
                let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
                let expected = if known { Code::Ok } else { Code::Unauthenticated };
                (code == expected).then_some(())
            }
        })
        .await;
    }
}

/// With what a stream ends, whatever it says before.
async fn end<T>(mut stream: Streaming<T>) -> Code {
    let end = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break Code::Ok,
                Err(status) => break status.code(),
            }
        }
    };
    soon("the stream ends", end).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_calls_end_when_their_token_is_rotated() {
    let guarded = Guarded::start().await;
    let old = Identity::client("everything");
    let tail = guarded.tail(&old).await;
    let (starts, waiting) = tokio::sync::mpsc::channel(1);
    let start = Start { queue: Some(queue_name("app")), credits: 1, ..Start::default() };
    let start = ConsumeRequest { request: Some(consume_request::Request::Start(start)) };
    starts.send(start).await.expect("the stream is there");
    let requests = old.ask(tokio_stream::wrappers::ReceiverStream::new(waiting));
    let consume = guarded.queue(&old).consume(requests).await.expect("consumes").into_inner();
    let (_batches, waiting) = tokio::sync::mpsc::channel::<SubmitStreamRequest>(1);
    let requests = old.ask(tokio_stream::wrappers::ReceiverStream::new(waiting));
    let mut ingest = IngestClient::new(guarded.channel(&old));
    let submit = ingest.submit_stream(requests).await.expect("submits").into_inner();
    let reader = guarded.tail(&Identity::platform()).await;

    write(&guarded.site, "app", &[("everything", &token("rotated"), &RIGHTS)]);

    assert_eq!(end(tail).await, Code::Unauthenticated);
    assert_eq!(end(consume).await, Code::Unauthenticated);
    assert_eq!(end(submit).await, Code::Unauthenticated);
    guarded.known(&old, false).await;
    let new = Identity::client("rotated");
    guarded.known(&new, true).await;

    // Less rights, then none, then no source.
    let tail = guarded.tail(&new).await;
    write(&guarded.site, "app", &[("everything", &token("rotated"), &["Submit"])]);
    assert_eq!(end(tail).await, Code::PermissionDenied);
    write(&guarded.site, "app", &[]);
    guarded.known(&new, false).await;
    write(&guarded.site, "app", &[("everything", &token("rotated"), &RIGHTS)]);
    guarded.known(&new, true).await;
    let tail = guarded.tail(&new).await;
    guarded.site.remove("app.yaml");
    assert_eq!(end(tail).await, Code::Unauthenticated);

    // All that time, others were left alone.
    fs::write(guarded.platform_token(), token("another")).expect("a token");
    assert_eq!(end(reader).await, Code::Unauthenticated);
    guarded.known(&Identity::token(&token("another")), true).await;
    guarded.known(&Identity::platform(), false).await;
    fs::write(guarded.platform_token(), "\n").expect("an empty file");
    guarded.known(&Identity::token(&token("another")), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_settled_by_consumers_of_its_source_only() {
    let guarded = Guarded::start().await;
    guarded.send("web").await;
    let ours = Identity::client("Consume");
    let theirs = Identity::client("everything");
    let delivery = guarded.take("web", &ours).await;
    let settle = async |identity: &Identity| {
        let request = SettleRequest { settlements: vec![ack(&delivery)] };
        let answer = guarded.queue(identity).settle(identity.ask(request)).await;
        let result = answer.expect("settled").into_inner().results.remove(0);
        (result.status(), result.message)
    };
    let (status, said) = settle(&theirs).await;
    assert_eq!(status, Status::LeaseLost);
    assert_eq!(settle(&ours).await.0, Status::Settled);
    assert_eq!(settle(&ours).await, (Status::LeaseLost, said), "told apart from a foreign one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_submits_becomes_actions_as_all_else() {
    let guarded = Guarded::start().await;
    let client = Identity::client("Submit");
    let submissions = vec![submission("web"), submission("web")];
    let request = client.ask(SubmitRequest { submissions });
    let answer = IngestClient::new(guarded.channel(&client)).submit(request).await;
    let results = answer.expect("submitted").into_inner().results;
    let outcomes: Vec<Outcome> = results.iter().map(|result| result.outcome()).collect();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
    let reader = Identity::client("Read");
    let request =
        segment_source_proto::admin::v1::GetEventRequest { event_id: results[0].event_id.clone() };
    let event = guarded.admin(&reader).get_event(reader.ask(request)).await;
    let event = event.expect("there").into_inner();
    assert_eq!((event.verdict(), event.covered), (Verdict::Internal, true));
    let delivery = guarded.take("web", &Identity::client("Consume")).await;
    assert_eq!(delivery.event_id, results[0].event_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_connect_by_tls_and_show_a_token() {
    let guarded = Guarded::start().await;
    let id = guarded.send("web").await;
    let file = |name: &str, content: &str| {
        let file = guarded.site.path().join(name);
        fs::write(&file, content).expect("written");
        file.display().to_string()
    };
    let ca = file("ca.pem", &guarded.authority.pem());
    let reader = file("reader", &format!("{}\n", token("Read")));
    let consumer = file("consumer", &token("Consume"));
    let stranger = file("stranger", "no-token-of-anybody");
    let server = format!("https://{}", guarded.server.grpc);
    let show = ["events", "show", &id, "--server", &server];
    let call = async |more: &[&str]| run(&[&show, more].concat()).await;

    let shown = call(&["--ca", &ca, "--token-file", &reader]).await.exits(0);
    assert!(shown.out.contains("verified_body"), "{}", shown.said());
    let cases = [
        (vec![], "--ca"),
        (vec!["--ca", &ca], "--token-file"),
        (vec!["--ca", &ca, "--token-file", &stranger], "--token-file"),
        (vec!["--ca", &ca, "--token-file", &consumer], "Read"),
        (vec!["--ca", &reader, "--token-file", &reader], "--ca"),
    ];
    for (more, part) in cases {
        let said = call(&more).await.exits(1).said();
        assert!(said.contains(part), "{more:?}: {said}");
        assert!(!said.contains("no-token-of-anybody"), "{said}");
    }
    let other = file("other.pem", &segment_source_tests::tls::Authority::new().pem());
    let said = call(&["--ca", &other, "--token-file", &reader]).await.exits(1).said();
    assert!(said.contains("certificate"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_secret_comes_later_is_known_then() {
    let guarded = Guarded::start().await;
    let late = Identity::client("late");
    write(&guarded.site, "app", &[("everything", "", &RIGHTS)]);
    guarded.known(&Identity::client("everything"), false).await;
    let secret = secret("token-everything", "token", &token("late"));
    let (entry, _) = crate::access_site::entry("everything", "", &RIGHTS).into();
    let spec = serde_json::json!({"access": [entry]});
    guarded.site.write("app.yaml", &[secret, segment_source_tests::manifest::source("app", spec)]);
    guarded.known(&late, true).await;
}
