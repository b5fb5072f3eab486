//! `Consume`: one stream as a state machine that only moves while the client reads. Nothing runs
//! behind it: when the client is gone the state is dropped, and with it every open lease.

use std::collections::{HashMap, VecDeque};

use futures_util::{FutureExt, Stream, stream};
use segment_source_proto::queue::v1::{
    ConsumeRequest, ConsumeResponse, Settlement, SettlementResult, Start,
    consume_request::Request as Incoming, consume_response::Response as Outgoing,
    settlement_result::Status as Settled,
};
use segment_source_rpc::{Caller, Right};
use segment_source_store::{LeaseToken, Millis, Store};
use tonic::{Status, Streaming};

use crate::directory::Message;

use super::{
    MAX_ACTIONS, QueueService, check_consumer,
    delivery::delivery,
    lease,
    metrics::Metrics,
    problem,
    pull::{Take, Wake},
    settle::settle,
};

/// At most this many settlements share a write, and this many actions a take.
const AT_ONCE: usize = 256;

/// As [`AT_ONCE`], where deliveries come with recipients, which are kept in memory until they are
/// sent.
const EXPANDED_AT_ONCE: usize = 32;

/// Reads Start and makes the response stream.
pub(super) async fn open(
    service: QueueService,
    caller: Caller,
    mut incoming: Streaming<ConsumeRequest>,
) -> Result<impl Stream<Item = Result<ConsumeResponse, Status>>, Status> {
    caller.authorize_somewhere(Right::Consume)?;
    let first = incoming.message().await?;
    let Some(Incoming::Start(start)) = first.and_then(|request| request.request) else {
        return Err(problem::invalid("start", "the first request of the stream must be Start"));
    };
    let Start { queue, credits, lease: length, consumer, expand_recipients: expands } = start;
    let (queue, permit) = service.resolve(&caller, queue)?;
    check_consumer(&consumer)?;
    let credits = usize::try_from(credits).unwrap_or(usize::MAX);
    if credits == 0 || credits > MAX_ACTIONS {
        return Err(problem::invalid("start.credits", "must be 1 to 1,000"));
    }
    let open = OpenLeases::new(service.store.clone(), service.metrics.clone());
    let take = Take::new(service, permit, queue, lease(length)?);
    let (requests, outgoing) = (Vec::new(), VecDeque::new());
    let ended = false;
    let consumer = Consumer { incoming, ended, requests, take, expands, credits, open, outgoing };
    Ok(stream::unfold(Some(consumer), |state| async move {
        let mut consumer = state?;
        match consumer.next().await {
            Ok(Some(response)) => Some((Ok(response), Some(consumer))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Consumer {
    incoming: Streaming<ConsumeRequest>,
    /// The client has closed its side; settlements it sent before still count.
    ended: bool,
    /// Read, and not yet dealt with.
    requests: Vec<ConsumeRequest>,
    take: Take,
    /// Deliveries come with what the directory knows of their recipients.
    expands: bool,
    credits: usize,
    open: OpenLeases,
    /// Ready to be sent.
    outgoing: VecDeque<Outgoing>,
}

impl Consumer {
    /// The next message for the client; `None` when it closed its side.
    async fn next(&mut self) -> Result<Option<ConsumeResponse>, Status> {
        loop {
            self.take.permit().check()?;
            if let Some(response) = self.outgoing.pop_front() {
                return Ok(Some(ConsumeResponse { response: Some(response) }));
            }
            self.read_what_is_there()?;
            self.work_off_requests().await?;
            if self.ended && self.outgoing.is_empty() {
                return Ok(None);
            }
            if !self.ended {
                let wake = self.deliver().await?;
                if self.outgoing.is_empty() {
                    self.wait(wake).await?;
                }
            }
        }
    }

    /// Reads, without waiting, what the client has sent, so that its settlements share one write.
    fn read_what_is_there(&mut self) -> Result<(), Status> {
        while !self.ended && self.requests.len() < AT_ONCE {
            match self.incoming.message().now_or_never() {
                None => break,
                Some(request) => self.received(request?),
            }
        }
        Ok(())
    }

    fn received(&mut self, request: Option<ConsumeRequest>) {
        match request {
            Some(request) => self.requests.push(request),
            None => self.ended = true,
        }
    }

    async fn work_off_requests(&mut self) -> Result<(), Status> {
        let mut settlements: Vec<Settlement> = Vec::new();
        for request in std::mem::take(&mut self.requests) {
            match request.request {
                Some(Incoming::Settlement(settlement)) => settlements.push(settlement),
                Some(Incoming::AddCredits(add)) => {
                    let add = usize::try_from(add.credits).unwrap_or(usize::MAX);
                    self.credits = self.credits.saturating_add(add).min(MAX_ACTIONS);
                }
                Some(Incoming::Start(_)) => {
                    return Err(problem::invalid("start", "may come only once"));
                }
                None => return Err(problem::invalid("request", "is empty")),
            }
        }
        if !settlements.is_empty() {
            let OpenLeases { store, metrics, .. } = &self.open;
            let caller = self.take.permit().caller();
            let results = settle(store, metrics, caller, settlements).await;
            self.open.closed_by(&results);
            self.outgoing.extend(results.into_iter().map(Outgoing::Settled));
        }
        Ok(())
    }

    /// Takes as much as the credits allow. Without credits there is nothing to wake up for.
    async fn deliver(&mut self) -> Result<Option<Wake>, Status> {
        if self.credits == 0 {
            return Ok(None);
        }
        let most = if self.expands { EXPANDED_AT_ONCE } else { AT_ONCE };
        let (taken, wake) = self.take.take_patiently(self.credits.min(most)).await?;
        self.credits -= taken.leases.len();
        let mut deliveries = Vec::with_capacity(taken.leases.len());
        for leased in taken.leases {
            self.open.add(leased.token, leased.expires);
            deliveries.push(delivery(leased, &self.open.metrics));
        }
        if self.expands {
            self.take.expand(&mut deliveries, Message::Each).await?;
        }
        self.outgoing.extend(deliveries.into_iter().map(Outgoing::Delivery));
        Ok(Some(wake))
    }

    /// Waits for the client, or for something to deliver.
    async fn wait(&mut self, wake: Option<Wake>) -> Result<(), Status> {
        let woken = async {
            match wake {
                Some(wake) => self.take.wait(wake).await,
                None => self.take.over().await,
            }
        };
        tokio::select! {
            woken = woken => woken?,
            request = self.incoming.message() => self.received(request?),
        }
        Ok(())
    }
}

/// The leases a stream holds; given back when it ends.
struct OpenLeases {
    store: Store,
    metrics: Metrics,
    expires: HashMap<LeaseToken, Millis>,
}

impl OpenLeases {
    fn new(store: Store, metrics: Metrics) -> Self {
        metrics.streams.inc();
        Self { store, metrics, expires: HashMap::new() }
    }

    fn add(&mut self, token: LeaseToken, expires: Millis) {
        // A client that never settles must not make this grow: forget what is long over.
        if self.expires.len() >= 4 * MAX_ACTIONS {
            let now = self.store.now();
            self.expires.retain(|_, expires| *expires >= now);
        }
        self.expires.insert(token, expires);
    }

    fn closed_by(&mut self, results: &[SettlementResult]) {
        for result in results {
            let Ok(token) = result.token[..].try_into().map(LeaseToken) else { continue };
            match (result.status(), result.lease_expires) {
                (Settled::Settled, None) | (Settled::LeaseLost, _) => {
                    self.expires.remove(&token);
                }
                (Settled::Settled, Some(until)) => {
                    if let Some(expires) = self.expires.get_mut(&token) {
                        *expires = Millis::try_from(until.seconds).unwrap_or_default() * 1_000;
                    }
                }
                _ => {}
            }
        }
    }
}

impl Drop for OpenLeases {
    fn drop(&mut self) {
        self.metrics.streams.dec();
        if !self.expires.is_empty() {
            self.store.release(self.expires.drain().map(|(token, _)| token).collect());
        }
    }
}
