//! Reads back over gRPC what the program made of the events that were sent to it.

use std::time::Duration;

use segment_source_proto::{
    admin::v1::{
        EventFilter, EventSummary, GetEventRequest, GetEventResponse, ListEventsRequest, Outcome,
        admin_client::AdminClient, list_events_response::Response,
    },
    queue::v1::{
        Ack, Delivery, PullRequest, QueueName, Reject, Retry, SettleRequest, Settlement,
        queue_client::QueueClient, settlement::Outcome as SettlementOutcome,
        settlement_result::Status,
    },
};
use tonic::{
    Request, Status as Failure, metadata::AsciiMetadataValue, service::Interceptor,
    service::interceptor::InterceptedService, transport::Channel,
};

use crate::{
    manifest::NAMESPACE,
    server::{MAX_MESSAGE, Server},
    wait::eventually,
};

/// Reads over a connection. Sources are named by namespace and name.
#[derive(Clone, Debug)]
pub struct Reader(InterceptedService<Channel, Bearer>);

/// Adds a token, where there is one, to every call.
#[derive(Clone, Debug)]
struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Failure> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Reader {
    /// As nobody, or as whoever has this token.
    ///
    /// # Panics
    /// When the token cannot be in a header.
    #[must_use]
    pub fn new(channel: Channel, token: Option<&str>) -> Self {
        let bearer = |token| format!("Bearer {token}").parse().expect("printable characters");
        Self(InterceptedService::new(channel, Bearer(token.map(bearer))))
    }

    /// A source's log, newest first, down to (and without) the first entry that is `old`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn events_until(
        &self,
        (namespace, name): (&str, &str),
        filter: EventFilter,
        old: impl Fn(&EventSummary) -> bool,
    ) -> Result<Vec<EventSummary>, Failure> {
        const PAGE: u32 = 1000;
        let mut admin = AdminClient::new(self.0.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut events: Vec<EventSummary> = Vec::new();
        loop {
            let request = ListEventsRequest {
                namespace: namespace.into(),
                name: name.into(),
                filter: Some(filter.clone()),
                limit: PAGE,
                before: events.last().map(|event| event.event_id.clone()).unwrap_or_default(),
            };
            let before = events.len();
            let mut page = admin.list_events(request).await?.into_inner();
            while let Some(message) = page.message().await? {
                if let Some(Response::Event(event)) = message.response {
                    if old(&event) {
                        return Ok(events);
                    }
                    events.push(event);
                }
            }
            if events.len() - before < PAGE as usize {
                return Ok(events);
            }
        }
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
        let mut queue = QueueClient::new(self.0.clone()).max_decoding_message_size(MAX_MESSAGE);
        let named = QueueName { namespace: namespace.into(), ..queue_name(name) };
        let request = PullRequest { queue: Some(named), ..pull_request(name, most, wait) };
        Ok(queue.pull(request).await?.into_inner().deliveries)
    }

    /// Settles leases; the results in the same order.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Status> {
        let mut queue = QueueClient::new(self.0.clone());
        let answer = queue.settle(SettleRequest { settlements }).await.expect("Settle answers");
        answer.into_inner().results.iter().map(|result| result.status()).collect()
    }

    /// Acks everything that was taken.
    pub(crate) async fn ack_all(&self, taken: &[Delivery]) {
        for status in self.settle(taken.iter().map(ack).collect()).await {
            assert_eq!(status, Status::Settled);
        }
    }
}

impl Server {
    async fn reader(&self) -> Reader {
        Reader::new(self.channel().await, None)
    }

    /// A source's whole log, newest first.
    pub async fn events(&self, source: &str) -> Vec<EventSummary> {
        self.events_until(source, EventFilter::default(), |_| false).await
    }

    /// A source's log, newest first, down to (and without) the first entry that is `old`.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn events_until(
        &self,
        source: &str,
        filter: EventFilter,
        old: impl Fn(&EventSummary) -> bool,
    ) -> Vec<EventSummary> {
        let source = (self.namespace.as_str(), source);
        let events = self.reader().await.events_until(source, filter, old).await;
        events.expect("events are listed")
    }

    /// Everything known of one event.
    ///
    /// # Panics
    /// When there is no such event.
    pub async fn event(&self, id: &str) -> GetEventResponse {
        let request = GetEventRequest { event_id: id.to_owned() };
        let mut admin = self.admin().await;
        admin.get_event(request).await.expect("the event is known").into_inner()
    }

    /// The entries made for a key, newest first, once all of them are planned.
    pub async fn planned(&self, source: &str, key: &str) -> Vec<GetEventResponse> {
        let filter = EventFilter { key: key.to_owned(), ..EventFilter::default() };
        let what = format!("the events of {source} with key {key} are planned");
        let ask = || async {
            let found = self.events_until(source, filter.clone(), |_| false).await;
            let planned = found.iter().all(|event| event.outcome() != Outcome::Waiting);
            (planned && !found.is_empty()).then_some(found)
        };
        let mut events = Vec::new();
        for summary in eventually(&what, ask).await {
            events.push(self.event(&summary.event_id).await);
        }
        events
    }

    /// The only entry made for a key, once it is planned.
    ///
    /// # Panics
    /// When there are several.
    pub async fn planned_one(&self, source: &str, key: &str) -> GetEventResponse {
        let mut events = self.planned(source, key).await;
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    /// Takes up to `most` actions of a source's default queue.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn pull(&self, source: &str, most: u32, wait: Duration) -> Vec<Delivery> {
        let source = (self.namespace.as_str(), source);
        self.reader().await.pull(source, most, wait).await.expect("actions are pulled")
    }

    /// Settles leases; the results in the same order.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Status> {
        self.reader().await.settle(settlements).await
    }

    /// Takes and acks everything that is or becomes ready until `count` actions were seen.
    pub async fn drain(&self, source: &str, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            let taken = self.pull(source, 1000, Duration::from_secs(20)).await;
            assert!(!taken.is_empty(), "{} of {count} actions came", all.len());
            self.reader().await.ack_all(&taken).await;
            all.extend(taken);
        }
        all
    }
}

/// Names the default queue of a source.
#[must_use]
pub fn queue_name(source: &str) -> QueueName {
    QueueName { namespace: NAMESPACE.into(), name: source.into(), destination: String::new() }
}

/// A Pull of the default queue with the default lease.
#[must_use]
pub fn pull_request(source: &str, most: u32, wait: Duration) -> PullRequest {
    PullRequest {
        queue: Some(queue_name(source)),
        max_actions: most,
        lease: None,
        wait: Some(duration(wait)),
        consumer: "tests".into(),
        expand_recipients: false,
    }
}

/// In protobuf's form.
///
/// # Panics
/// When it is longer than protobuf can say.
#[must_use]
pub fn duration(duration: Duration) -> prost_types::Duration {
    duration.try_into().expect("a short duration")
}

/// Done.
#[must_use]
pub fn ack(delivery: &Delivery) -> Settlement {
    settlement(delivery, SettlementOutcome::Ack(Ack {}))
}

/// Again after a delay.
#[must_use]
pub fn retry(delivery: &Delivery, delay: Duration) -> Settlement {
    let retry = Retry { delay: Some(duration(delay)), reason: "busy now".into() };
    settlement(delivery, SettlementOutcome::Retry(retry))
}

/// Never.
#[must_use]
pub fn reject(delivery: &Delivery, reason: &str) -> Settlement {
    settlement(delivery, SettlementOutcome::Reject(Reject { reason: reason.into() }))
}

/// Any outcome.
#[must_use]
pub fn settlement(delivery: &Delivery, outcome: SettlementOutcome) -> Settlement {
    Settlement { token: delivery.token.clone(), outcome: Some(outcome) }
}
