//! `Admin/Replay`: counts what is asked for, then runs it again page by page, oldest first, and
//! tells after each page how far it has come. Driven by the client's reading: it stops when the
//! client is gone, and holds one page in memory.

use std::{sync::Arc, time::Duration};

use futures_util::stream::unfold;
use segment_source_core::event::{ActionId, EventId};
use segment_source_proto::admin::v1::ReplayResponse;
use segment_source_rpc::{Permit, problem};
use segment_source_store::{ActionStatus, LogEntry, PlannedEvent, ReplayId, Store};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::revivals;
use crate::{Source, Sources, admin::Wanted, plan::render, status};

/// So many events or actions are looked at and run again at a time.
const PAGE: usize = 100;

/// What runs again.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Failed and dead actions; only those with this reason code, if there is one.
    Dead {
        /// Empty: with any.
        reason_code: String,
    },
    /// Events as new runs.
    Events {
        /// The name under which none runs twice.
        id: ReplayId,
    },
}

/// A replay as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) what: What,
    /// Which events.
    pub(crate) wanted: Wanted,
    /// Only actions for it.
    pub(crate) destination: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) expect: Option<u64>,
    /// At most so many a second; 0: no limit.
    pub(crate) per_second: u32,
}

/// What the replay works with.
pub(crate) struct Tools {
    pub(crate) store: Store,
    pub(crate) sources: watch::Receiver<Arc<Sources>>,
    pub(crate) permit: Permit,
    pub(crate) draining: CancellationToken,
}

/// Where a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Counting,
    Running,
    Over,
}

/// A replay under way.
pub(crate) struct Replay {
    tools: Tools,
    order: Order,
    phase: Phase,
    /// Behind what was looked at last.
    position: Position,
    /// The last one found when counting: what comes later is none of this replay's.
    last: Position,
    /// To be waited before the next page, so that no more run a second than were asked for.
    rest: Duration,
    told: ReplayResponse,
}

/// Of the last event, or of the last dead action, that was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    event: Option<EventId>,
    action: Option<ActionId>,
}

/// Something to run again.
enum Found {
    Action(Box<ActionStatus>),
    Event(Box<PlannedEvent>),
}

impl Replay {
    pub(crate) fn new(tools: Tools, order: Order) -> Self {
        let position = Position { event: order.wanted.first(), action: None };
        let told = ReplayResponse::default();
        let (last, rest) = (Position::default(), Duration::ZERO);
        Self { tools, order, phase: Phase::Counting, position, last, rest, told }
    }

    /// One answer for each page; the last one says that it is complete.
    pub(crate) fn answers(
        self,
    ) -> impl futures_core::Stream<Item = Result<ReplayResponse, Status>> + Send {
        unfold(Some(self), |replay| async move {
            let mut replay = replay?;
            match replay.next().await {
                Ok(true) => Some((Ok(replay.told), Some(replay))),
                Ok(false) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// One page; `false`: it was over before.
    async fn next(&mut self) -> Result<bool, Status> {
        if self.phase == Phase::Over {
            return Ok(false);
        }
        self.tools.permit.check()?;
        let draining = self.tools.draining.clone();
        tokio::select! {
            stepped = self.step() => stepped.map(|()| true),
            () = draining.cancelled() => Err(problem::draining()),
        }
    }

    async fn step(&mut self) -> Result<(), Status> {
        let counting = self.phase == Phase::Counting;
        sleep(std::mem::take(&mut self.rest)).await;
        let (found, more) = self.page().await?;
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
        if counting {
            self.told.found += count;
            self.last = self.position;
        } else {
            let done = self.run(found).await?;
            self.told.done += done;
            self.told.skipped += count - done;
            let per_second = self.order.per_second;
            self.rest = Duration::from_secs(done).checked_div(per_second).unwrap_or_default();
        }
        match (more, counting) {
            (true, _) => Ok(()),
            (false, true) => self.counted(),
            (false, false) => {
                self.over();
                Ok(())
            }
        }
    }

    fn counted(&mut self) -> Result<(), Status> {
        self.told.counted = true;
        let found = self.told.found;
        if let Some(expect) = self.order.expect.filter(|expect| *expect != found) {
            return Err(problem::precondition(
                "COUNT_DIFFERS",
                format!(
                    "{found} were found, {expect} were expected, and nothing was run again; look \
                     at what they are, and ask again with the right number"
                ),
            ));
        }
        if self.order.dry_run || found == 0 {
            self.over();
            return Ok(());
        }
        self.phase = Phase::Running;
        self.position = Position { event: self.order.wanted.first(), action: None };
        Ok(())
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.told.complete = true;
    }

    /// How many are looked at next; fewer when few may run a second, so that they do not come in
    /// bursts.
    fn size(&self) -> usize {
        match (self.phase, usize::try_from(self.order.per_second)) {
            (Phase::Running, Ok(per_second @ 1..PAGE)) => per_second,
            _ => PAGE,
        }
    }

    /// The next ones, oldest first, and whether there are more.
    async fn page(&mut self) -> Result<(Vec<Found>, bool), Status> {
        match self.order.what {
            What::Dead { .. } => self.dead().await,
            What::Events { .. } => self.events().await,
        }
    }

    async fn dead(&mut self) -> Result<(Vec<Found>, bool), Status> {
        let (Self { tools, order, position, .. }, size) = (&*self, self.size());
        let source = order.wanted.source();
        let page = tools.store.dead(source, position.action, size).await;
        let page = page.map_err(|error| status::store(&error))?;
        // The store ends a page also when it is large.
        let mut more = !page.is_empty();
        let mut found = Vec::new();
        for action in page {
            if self.phase == Phase::Running && self.last.action.is_some_and(|it| action.id > it) {
                more = false;
                break;
            }
            self.position.action = Some(action.id);
            if self.is_wanted(&action).await? {
                found.push(Found::Action(Box::new(action)));
            }
        }
        Ok((found, more))
    }

    async fn is_wanted(&self, action: &ActionStatus) -> Result<bool, Status> {
        let Order { what: What::Dead { reason_code }, destination, wanted, .. } = &self.order
        else {
            return Ok(false);
        };
        let code = action.reason.as_ref().map(|reason| reason.code.as_str());
        let fits = reason_code.is_empty() || code == Some(reason_code);
        let there = destination.as_ref().is_none_or(|it| *it == action.action.destination);
        if !fits || !there || !wanted.holds_at(action.id.event.millis) {
            return Ok(false);
        }
        if wanted.is_any() {
            return Ok(true);
        }
        let entry = self.tools.store.event(action.id.event).await;
        let entry = entry.map_err(|error| status::store(&error))?;
        Ok(entry.is_some_and(|entry| wanted.holds(&entry)))
    }

    async fn events(&mut self) -> Result<(Vec<Found>, bool), Status> {
        let (Self { tools, order, position, .. }, size) = (&*self, self.size());
        let source = order.wanted.source();
        let page = tools.store.read_log_after(source, position.event, size).await;
        let page = page.map_err(|error| status::store(&error))?;
        let mut more = !page.is_empty();
        let mut wanted = Vec::new();
        for entry in page {
            let late =
                self.phase == Phase::Running && self.last.event.is_some_and(|it| entry.id > it);
            if late || self.order.wanted.is_beyond(entry.id.millis) {
                more = false;
                break;
            }
            self.position.event = Some(entry.id);
            let original = entry.duplicate_of.is_none() && entry.event.unmappable.is_none();
            // Nothing is left of those that were erased.
            let there = entry.planned.is_some() && !entry.event.body.is_empty();
            if original && there && self.order.wanted.holds(&entry) {
                wanted.push(entry);
            }
        }
        let found = self.plan(wanted).await?.into_iter();
        Ok((found.map(|planned| Found::Event(Box::new(planned))).collect(), more))
    }

    /// What the configuration of now makes of events, without those of which it makes nothing.
    async fn plan(&self, entries: Vec<LogEntry>) -> Result<Vec<PlannedEvent>, Status> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (source, destination) = (self.source()?, self.order.destination.clone());
        let plan = move |entry: LogEntry| {
            let mut planned = render(&source, entry.id, &entry.event);
            let there = |name: &str| destination.as_deref().is_none_or(|it| it == name);
            planned.actions.retain(|action| there(&action.destination));
            (!planned.actions.is_empty()).then_some(planned)
        };
        blocking(move || entries.into_iter().filter_map(plan).collect()).await
    }

    /// As it is now.
    fn source(&self) -> Result<Arc<Source>, Status> {
        let id = self.order.wanted.source();
        let source = self.tools.sources.borrow().sources.get(id).cloned();
        source.ok_or_else(|| status::no_such_source(id))
    }

    /// How many were run again.
    async fn run(&mut self, found: Vec<Found>) -> Result<u64, Status> {
        if found.is_empty() {
            return Ok(0);
        }
        match &self.order.what {
            What::Dead { .. } => self.revive(found).await,
            What::Events { id } => self.replay(*id, found).await,
        }
    }

    async fn revive(&self, found: Vec<Found>) -> Result<u64, Status> {
        let mut all = Vec::new();
        for found in found {
            let Found::Action(action) = found else { continue };
            let entry = self.tools.store.event(action.id.event).await;
            let entry = entry.map_err(|error| status::store(&error))?;
            all.extend(entry.map(|entry| (entry, action.id)));
        }
        let source = self.source()?;
        let again = blocking(move || {
            let one =
                |(entry, id): &(LogEntry, ActionId)| revivals(&source, entry, |it| it.id == *id);
            all.iter().flat_map(one).collect::<Vec<_>>()
        });
        let revived = self.tools.store.revive(again.await?).await;
        let revived = revived.map_err(|error| status::store(&error))?;
        Ok(u64::try_from(revived.into_iter().filter(|done| *done).count()).unwrap_or(u64::MAX))
    }

    async fn replay(&self, id: ReplayId, found: Vec<Found>) -> Result<u64, Status> {
        let planned = found.into_iter().filter_map(|found| match found {
            Found::Event(planned) => Some(*planned),
            Found::Action(_) => None,
        });
        let runs = self.tools.store.replay(id, planned.collect()).await;
        let runs = runs.map_err(|error| status::store(&error))?;
        Ok(u64::try_from(runs.into_iter().flatten().count()).unwrap_or(u64::MAX))
    }
}

/// Expressions and large bodies take their time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| problem::internal("rendering did not end"))
}
