//! Consume as a stream: credits, consumers that vanish or stop reading, sharing among several.

use std::{collections::BTreeSet, time::Duration};

use segment_source_proto::queue::v1::{
    AddCredits, ConsumeRequest, ConsumeResponse, Delivery, Settlement, Start,
    consume_request::Request, consume_response::Response, settlement_result::Status,
};
use segment_source_tests::{
    manifest::welcome_mapping,
    read::{ack, duration, queue_name},
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    wait::soon,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Long enough that something wrongly sent would have come.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) struct Consumer {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
}

impl Consumer {
    pub(crate) async fn start(server: &Server, credits: u32, lease: Duration) -> Self {
        let (requests, stream) = mpsc::channel(64);
        let start = Start {
            queue: Some(queue_name("web")),
            credits,
            lease: Some(duration(lease)),
            consumer: "a test".into(),
            expand_recipients: false,
        };
        let start = ConsumeRequest { request: Some(Request::Start(start)) };
        requests.send(start).await.expect("there is room");
        let mut queue = server.queue().await;
        let responses = soon("the stream opens", queue.consume(ReceiverStream::new(stream))).await;
        Self { requests, responses: responses.expect("it opens").into_inner() }
    }

    pub(crate) async fn delivery(&mut self) -> Delivery {
        match soon("a delivery", self.responses.message()).await.expect("the stream goes on") {
            Some(ConsumeResponse { response: Some(Response::Delivery(delivery)) }) => delivery,
            other => panic!("no delivery: {other:?}"),
        }
    }

    async fn ask(&self, request: Request) {
        self.requests.send(ConsumeRequest { request: Some(request) }).await.expect("it listens");
    }

    async fn settle(&mut self, settlement: Settlement) -> Status {
        let token = settlement.token.clone();
        self.ask(Request::Settlement(settlement)).await;
        match soon("the result", self.responses.message()).await.expect("the stream goes on") {
            Some(ConsumeResponse { response: Some(Response::Settled(result)) }) => {
                assert_eq!(result.token, token);
                result.status()
            }
            other => panic!("no result: {other:?}"),
        }
    }

    pub(crate) async fn assert_quiet(&mut self) {
        let message = tokio::time::timeout(QUIET, self.responses.message()).await;
        assert!(message.is_err(), "nothing should come: {message:?}");
    }
}

async fn start() -> (Site, Server) {
    let site = Site::with_web(json!({"mappings": [welcome_mapping()]}));
    let server = site.start().await;
    (site, server)
}

/// Sends one event for each of `count` users; waits until their actions are planned.
async fn send(server: &Server, count: usize) {
    let mut last = String::new();
    for user in 0..count {
        last = fresh_id();
        let event = track(&last, &format!("user-{user}"), "Signed Up");
        assert_eq!(server.post("web", event.to_string()).await.counts(), (1, 0));
    }
    server.planned("web", &last).await;
}

#[tokio::test]
async fn credits_bound_what_is_sent() {
    let (_site, server) = start().await;
    send(&server, 10).await;
    let mut consumer = Consumer::start(&server, 3, Duration::from_secs(60)).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(consumer.delivery().await);
    }
    consumer.assert_quiet().await;
    // Settling is not a credit.
    assert_eq!(consumer.settle(ack(&taken[0])).await, Status::Settled);
    consumer.assert_quiet().await;
    consumer.ask(Request::AddCredits(AddCredits { credits: 2 })).await;
    for _ in 0..2 {
        taken.push(consumer.delivery().await);
    }
    consumer.assert_quiet().await;
    let ids: BTreeSet<_> = taken.iter().map(|delivery| &delivery.action_id).collect();
    assert_eq!(ids.len(), 5);
    // The rest is there for others.
    assert_eq!(server.pull("web", 100, Duration::ZERO).await.len(), 5);
}

#[tokio::test]
async fn actions_come_as_events_do() {
    let (_site, server) = start().await;
    let mut consumer = Consumer::start(&server, 100, Duration::from_secs(60)).await;
    for _ in 0..3 {
        send(&server, 1).await;
        let delivery = consumer.delivery().await;
        assert_eq!((delivery.attempt, delivery.mapping.as_str()), (1, "welcome"));
        assert_eq!(delivery.event_type, "track/Signed Up");
        assert_eq!(consumer.settle(ack(&delivery)).await, Status::Settled);
    }
}

#[tokio::test]
async fn what_a_vanished_consumer_had_goes_to_others_at_once() {
    let (_site, server) = start().await;
    send(&server, 4).await;
    let mut consumer = Consumer::start(&server, 4, Duration::from_secs(12 * 3600)).await;
    let mut had = Vec::new();
    for _ in 0..4 {
        had.push(consumer.delivery().await);
    }
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty());
    drop(consumer);
    let mut again = Vec::new();
    while again.len() < 4 {
        let taken = server.pull("web", 10, Duration::from_secs(20)).await;
        assert!(!taken.is_empty(), "only {} came back", again.len());
        again.extend(taken);
    }
    for delivery in &again {
        let before = had.iter().find(|had| had.action_id == delivery.action_id);
        let before = before.expect("the same actions");
        assert_eq!(delivery.attempt, 2);
        assert_ne!(delivery.token, before.token);
        assert_eq!(
            (&delivery.payload_json, &delivery.idempotency_key),
            (&before.payload_json, &before.idempotency_key)
        );
    }
    // The old tokens are worth nothing.
    let late = had.iter().map(ack).collect();
    assert_eq!(server.settle(late).await, [Status::LeaseLost; 4]);
    let acks = again.iter().map(ack).collect();
    assert_eq!(server.settle(acks).await, [Status::Settled; 4]);
    assert!(server.pull("web", 10, Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn a_consumer_that_stops_reading_delays_nobody_for_longer_than_its_leases() {
    let (_site, server) = start().await;
    let mut lazy = Consumer::start(&server, 1000, Duration::from_secs(1)).await;
    send(&server, 20).await;
    let first = lazy.delivery().await;
    // It reads no more. Every action still reaches somebody.
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        let taken = server.pull("web", 100, Duration::from_secs(20)).await;
        assert!(!taken.is_empty(), "{} of 20 came", seen.len());
        let acks: Vec<Settlement> = taken.iter().map(ack).collect();
        let results = server.settle(acks).await;
        let settled = taken.iter().zip(results).filter(|(_, status)| *status == Status::Settled);
        seen.extend(settled.map(|(delivery, _)| delivery.action_id.clone()));
        if seen.len() < 20 {
            // The lazy one got some of them again: with leases that end, they are offered to both.
            drop(std::mem::replace(
                &mut lazy,
                Consumer::start(&server, 1, Duration::from_secs(1)).await,
            ));
        }
    }
    assert!(seen.contains(&first.action_id));
}

#[tokio::test]
async fn consumers_share_and_nothing_is_given_out_twice() {
    let (_site, server) = start().await;
    send(&server, 60).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut consumer = Consumer::start(&server, 5, Duration::from_secs(60)).await;
        tasks.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let next = tokio::time::timeout(2 * QUIET, consumer.responses.message()).await;
                let Ok(message) = next else { return mine };
                match message.expect("the stream goes on").and_then(|message| message.response) {
                    Some(Response::Delivery(delivery)) => {
                        let settlement = ack(&delivery);
                        mine.push(delivery);
                        consumer.ask(Request::Settlement(settlement)).await;
                        consumer.ask(Request::AddCredits(AddCredits { credits: 1 })).await;
                    }
                    Some(Response::Settled(result)) => {
                        assert_eq!(result.status(), Status::Settled);
                    }
                    None => panic!("the stream ended"),
                }
            }
        });
    }
    let shares = tasks.join_all().await;
    let all: Vec<_> = shares.iter().flatten().map(|delivery| &delivery.action_id).collect();
    assert_eq!(all.len(), 60);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test]
async fn a_stream_that_does_not_start_properly_is_refused() {
    let (_site, server) = start().await;
    let start = |source: &str, credits, lease: i64| {
        Request::Start(Start {
            queue: Some(queue_name(source)),
            credits,
            lease: Some(prost_types::Duration { seconds: lease, nanos: 0 }),
            consumer: String::new(),
            expand_recipients: false,
        })
    };
    for (name, request, code) in [
        ("no start", Request::AddCredits(AddCredits { credits: 1 }), tonic::Code::InvalidArgument),
        ("no credits", start("web", 0, 30), tonic::Code::InvalidArgument),
        ("too many credits", start("web", 1001, 30), tonic::Code::InvalidArgument),
        ("no lease", start("web", 1, 0), tonic::Code::InvalidArgument),
        ("a negative lease", start("web", 1, -1), tonic::Code::InvalidArgument),
        ("a long lease", start("web", 1, 12 * 3600 + 1), tonic::Code::InvalidArgument),
        ("an unknown source", start("other", 1, 30), tonic::Code::NotFound),
    ] {
        let requests = tokio_stream::iter([ConsumeRequest { request: Some(request) }]);
        let mut queue = server.queue().await;
        let status = match queue.consume(requests).await {
            Err(status) => status,
            Ok(stream) => soon(name, stream.into_inner().message()).await.expect_err(name),
        };
        assert_eq!(status.code(), code, "{name}: {}", status.message());
    }
}
