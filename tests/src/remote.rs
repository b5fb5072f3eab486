//! A client of the program somewhere else: gRPC over TLS, with a token.

use std::{collections::BTreeMap, time::Duration};

use segment_source_proto::{
    admin::v1::{
        EventFilter, EventSummary, ListEventsRequest, admin_client::AdminClient,
        list_events_response::Response,
    },
    queue::v1::{
        Delivery, PullRequest, QueueName, SettleRequest, queue_client::QueueClient,
        settlement_result::Status,
    },
};
use tonic::{
    Request, Status as Failure, metadata::AsciiMetadataValue, service::Interceptor,
    service::interceptor::InterceptedService, transport::Channel,
};

use crate::{
    kube::netns::Forward,
    read::{ack, duration},
    tls,
};

/// Adds the token to every call.
#[derive(Clone, Debug)]
pub struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Failure> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The client, until it is dropped.
#[derive(Debug)]
pub struct Remote {
    channel: InterceptedService<Channel, Bearer>,
    _forward: Forward,
}

impl Remote {
    /// Connects when it is first used.
    ///
    /// # Panics
    /// When the token cannot be in a header.
    #[must_use]
    pub fn new(forward: Forward, ca: &[u8], token: &str) -> Self {
        let bearer = format!("Bearer {token}").parse().expect("a token of printable characters");
        let channel = InterceptedService::new(
            tls::connect(forward.address, "ingest", ca, None),
            Bearer(bearer),
        );
        Self { channel, _forward: forward }
    }

    /// Takes up to `most` actions of a source's default queue.
    ///
    /// # Errors
    /// What the server says.
    pub async fn pull(
        &self,
        (namespace, name): (&str, &str),
        most: u32,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Failure> {
        let request = PullRequest {
            queue: Some(QueueName {
                namespace: namespace.into(),
                name: name.into(),
                destination: String::new(),
            }),
            max_actions: most,
            lease: None,
            wait: Some(duration(wait)),
            consumer: "tests".into(),
            expand_recipients: false,
        };
        let mut queue = QueueClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        Ok(queue.pull(request).await?.into_inner().deliveries)
    }

    /// Takes and acks everything there is, until nothing more comes.
    ///
    /// # Panics
    /// When a call fails, or an action cannot be settled.
    pub async fn drain(&self, source: (&str, &str)) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            let taken = self.pull(source, 1000, Duration::from_secs(2)).await;
            let taken = taken.expect("actions are pulled");
            if taken.is_empty() {
                return all;
            }
            let settlements = taken.iter().map(ack).collect();
            let mut queue = QueueClient::new(self.channel.clone());
            let answer = queue.settle(SettleRequest { settlements }).await;
            for result in answer.expect("Settle answers").into_inner().results {
                assert_eq!(result.status(), Status::Settled);
            }
            all.extend(taken);
        }
    }

    /// A source's whole log, newest first.
    ///
    /// # Errors
    /// What the server says.
    pub async fn events(
        &self,
        (namespace, name): (&str, &str),
    ) -> Result<Vec<EventSummary>, Failure> {
        const PAGE: u32 = 1000;
        let mut admin = AdminClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let mut events: Vec<EventSummary> = Vec::new();
        loop {
            let request = ListEventsRequest {
                namespace: namespace.into(),
                name: name.into(),
                filter: Some(EventFilter::default()),
                limit: PAGE,
                before: events.last().map(|event| event.event_id.clone()).unwrap_or_default(),
            };
            let before = events.len();
            let mut page = admin.list_events(request).await?.into_inner();
            while let Some(message) = page.message().await? {
                if let Some(Response::Event(event)) = message.response {
                    events.push(event);
                }
            }
            if events.len() - before < PAGE as usize {
                return Ok(events);
            }
        }
    }

    /// How often each key was accepted as new.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn accepted(&self, source: (&str, &str)) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for event in self.events(source).await.expect("events are listed") {
            if event.duplicate_of.is_empty() {
                *keys.entry(event.key).or_default() += 1;
            }
        }
        keys
    }
}
