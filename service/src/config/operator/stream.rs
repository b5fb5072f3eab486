//! The stream to the operator: opened, listened to, answered, and opened again when it ends.

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use segment_source_ingest::SCHEMA_LEVEL;
use segment_source_proto::config::v1::{
    self as wire, Hello, WatchRequest, WatchResponse, config_client::ConfigClient, watch_request,
};
use segment_source_runtime::net::innermost;
use segment_source_store::Clock;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, error::Elapsed, interval, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tracing::{debug, info, warn};

use super::{
    cache::Beside,
    dial::Servers,
    metrics::Metrics,
    told::{Heard, Told, Useless},
};
use crate::{
    args::Role,
    config::{Applied, Snapshot},
};

/// Pauses after every address was tried in vain.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a server may take to open the stream, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// While much arrives, it is put into service at least this often, and until everything was told,
/// not more often: each time costs a look at every source.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked for removals that are long ago.
const FORGET: Duration = Duration::from_secs(10);
/// Answers that may be under way.
const ANSWERS: usize = 256;

/// Listens to the operator.
pub(super) struct Client {
    pub(super) servers: Servers,
    pub(super) role: Role,
    pub(super) replica: String,
    pub(super) clock: Clock,
    pub(super) told: Told,
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(super) beside: watch::Sender<Beside>,
    pub(super) metrics: Metrics,
}

/// What came of listening to every server there is.
pub(super) struct Round {
    /// Whether one of them told everything.
    pub(super) useful: bool,
    /// Why there is none to listen to any more.
    pub(super) why: String,
}

/// Why a stream ended. Its texts go on after "the operator at ADDRESS".
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("could not be reached or refused: {}", words(.0))]
    NotOpened(Status),
    #[error("broke the stream: {}", words(.0))]
    Broken(Status),
    #[error("ended the stream")]
    Closed,
    #[error("did not {0} in {PATIENCE:?}")]
    Slow(&'static str),
    #[error("is left: {0}")]
    Useless(#[from] Useless),
}

impl Ended {
    /// Whether this is how a replica of the operator answers that does not lead, or not yet.
    fn is_not_leading(&self) -> bool {
        // With a source it is the connection that failed.
        matches!(self, Self::NotOpened(status)
            if status.code() == Code::Unavailable && std::error::Error::source(status).is_none())
    }
}

/// Why a call failed. A status itself prints the whole chain as its types.
fn words(status: &Status) -> String {
    match (std::error::Error::source(status), status.message()) {
        (Some(cause), _) => innermost(cause),
        (None, "") => status.code().to_string(),
        (None, message) => message.to_owned(),
    }
}

impl Client {
    /// Listens for ever.
    pub(super) async fn run(mut self, mut applied: watch::Receiver<Applied>) {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        // One line when the operator goes, not one a try.
        let mut said = None;
        loop {
            let Round { useful, why } = match self.servers.resolve().await {
                Ok(servers) => self.round(servers, &mut applied).await,
                Err(error) => {
                    Round { useful: false, why: format!("the operator cannot be found: {error}") }
                }
            };
            if useful {
                pause = pauses.build();
                said = None;
            }
            if said.as_ref() != Some(&why) {
                warn!("{why}; the configuration known last stays in use, and it is tried again");
                said = Some(why);
            }
            self.wait(pause.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// Listens to one server after the other, to each for as long as it can be listened to.
    pub(super) async fn round(
        &mut self,
        servers: Vec<SocketAddr>,
        applied: &mut watch::Receiver<Applied>,
    ) -> Round {
        let mut round =
            Round { useful: false, why: "no replica of the operator leads and is ready".into() };
        for address in servers {
            self.told.begin();
            let client = self.servers.client(address);
            let Err(ended) = self.listen(client, applied).await;
            self.metrics.reconnects.inc();
            self.metrics.connected.set(0);
            debug!("the operator at {address} {ended}");
            round.useful |= self.told.stream_synced();
            if !ended.is_not_leading() {
                round.why = format!("the operator at {address} {ended}");
            }
        }
        round
    }

    /// Waits; time passes for what was removed.
    async fn wait(&mut self, pause: Duration) {
        sleep(pause).await;
        self.forget();
    }

    fn forget(&mut self) {
        if self.told.pass((self.clock)()) {
            self.publish();
        }
    }

    /// One stream, from its opening to its end.
    async fn listen(
        &mut self,
        mut client: ConfigClient<Channel>,
        applied: &mut watch::Receiver<Applied>,
    ) -> Result<Infallible, Ended> {
        let (answers, requests) = mpsc::channel(ANSWERS);
        answer(&answers, self.hello()).await?;
        let opened = timeout(PATIENCE, client.watch(ReceiverStream::new(requests))).await;
        let mut responses =
            opened.map_err(slow("open the stream"))?.map_err(Ended::NotOpened)?.into_inner();
        let first = timeout(PATIENCE, responses.message()).await.map_err(slow("say Opened"))?;
        // One that does not lead may say so only now.
        let first = first.map_err(Ended::NotOpened)?.ok_or(Ended::Closed)?;
        self.told.take(first, (self.clock)())?;
        self.metrics.connected.set(1);
        self.metrics.epoch.set(self.told.epoch());
        info!(epoch = self.told.epoch(), "connected to the operator");
        self.follow(responses, &answers, applied).await
    }

    fn hello(&self) -> WatchRequest {
        let edge = self.role.has_edge().then_some(wire::Role::Edge);
        let ingest = self.role.has_ingest().then_some(wire::Role::Ingest);
        let roles = edge.into_iter().chain(ingest).map(i32::from).collect();
        let hello = Hello { roles, replica: self.replica.clone(), schema_level: SCHEMA_LEVEL };
        WatchRequest { request: Some(watch_request::Request::Hello(hello)) }
    }

    async fn follow(
        &mut self,
        mut responses: Streaming<WatchResponse>,
        answers: &mpsc::Sender<WatchRequest>,
        applied: &mut watch::Receiver<Applied>,
    ) -> Result<Infallible, Ended> {
        let mut forget = interval(FORGET);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When what was told is put into service: once nothing more arrives, and at the latest.
        let mut latest = Some(Instant::now() + GATHER);
        let mut due = latest;
        loop {
            if latest.is_some_and(|latest| latest <= Instant::now()) {
                self.publish();
                (latest, due) = (None, None);
            }
            tokio::select! {
                biased;
                response = responses.message() => {
                    let response = response.map_err(Ended::Broken)?.ok_or(Ended::Closed)?;
                    let heard = self.told.take(response, (self.clock)())?;
                    let now = Instant::now();
                    latest = latest.or(Some(now + GATHER));
                    due = if self.told.stream_synced() { Some(now) } else { latest };
                    if heard == Heard::Synced {
                        let sources = self.told.known().present.len();
                        info!(sources, "everything was told by the operator");
                    }
                }
                () = until(due) => {
                    self.publish();
                    (latest, due) = (None, None);
                }
                changed = applied.changed() => {
                    // Whoever made the tables has ended, and so does the process.
                    changed.map_err(|_| Ended::Closed)?;
                    let applied = applied.borrow_and_update().clone();
                    self.metrics.refused.set(applied.refused.len() as u64);
                    for request in self.told.applied(&applied) {
                        answer(answers, request).await?;
                    }
                }
                _ = forget.tick() => self.forget(),
            }
        }
    }

    /// Hands all that is known to whoever puts it into service.
    fn publish(&mut self) {
        // Before the snapshot: what is kept is never newer than the epoch beside it.
        self.tell_beside();
        self.metrics.version.set(self.told.told_version());
        self.snapshots.send_replace(Arc::new(self.told.snapshot()));
    }

    pub(super) fn tell_beside(&self) {
        let removed = self.told.known().removed.clone();
        let beside = Beside { epoch: self.told.epoch(), removed };
        self.beside.send_replace(beside);
    }
}

async fn answer(answers: &mpsc::Sender<WatchRequest>, request: WatchRequest) -> Result<(), Ended> {
    let sent = timeout(PATIENCE, answers.send(request)).await;
    sent.map_err(slow("take an answer"))?.map_err(|_gone| Ended::Closed)
}

/// Waits for that moment; not at all once it was, and for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) if moment <= Instant::now() => {}
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

fn slow(what: &'static str) -> impl Fn(Elapsed) -> Ended {
    move |_elapsed| Ended::Slow(what)
}
