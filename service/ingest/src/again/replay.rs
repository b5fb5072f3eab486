//! `Admin/Replay`: counts what is asked for, then runs it again page by page, oldest first, and
//! tells after each page how far it has come. Driven by the client's reading: it stops when the
//! client is gone, and holds one page in memory.

use std::{sync::Arc, time::Duration};

use futures_util::stream::unfold;
use segment_source_core::event::{ActionId, EventId};
use segment_source_proto::admin::v1::ReplayResponse;
use segment_source_rpc::{Permit, problem};
use segment_source_store::{ActionStatus, LogEntry, PlannedEvent, ReplayId, embedded::Store};
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

pub(crate) struct Replay {
    tools: Tools,
    order: Order,
    phase: Phase,
    /// Behind what was looked at last.
    position: Position,
    /// The last one found when counting: what comes later is none of this replay's.
    last: Position,
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
    Event(Box<LogEntry>),
}

impl Replay {
    pub(crate) fn new(tools: Tools, order: Order) -> Self {
        let position = Position { event: order.wanted.first(), action: None };
        let told = ReplayResponse::default();
        Self { tools, order, phase: Phase::Counting, position, last: Position::default(), told }
    }

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
            if per_second > 0 && done > 0 {
                sleep(Duration::from_secs(done) / per_second).await;
            }
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

    /// The next ones, oldest first, and whether there are more.
    async fn page(&mut self) -> Result<(Vec<Found>, bool), Status> {
        match self.order.what {
            What::Dead { .. } => self.dead().await,
            What::Events { .. } => self.events().await,
        }
    }

    async fn dead(&mut self) -> Result<(Vec<Found>, bool), Status> {
        let Self { tools, order, position, .. } = self;
        let source = order.wanted.source();
        let page = tools.store.dead(source, position.action, PAGE).await;
        let page = page.map_err(|error| status::store(&error))?;
        let mut more = page.len() == PAGE;
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
        let Self { tools, order, position, .. } = self;
        let source = order.wanted.source();
        let page = tools.store.read_log_after(source, position.event, PAGE).await;
        let page = page.map_err(|error| status::store(&error))?;
        let mut more = !page.is_empty();
        let mut found = Vec::new();
        for entry in page {
            let late =
                self.phase == Phase::Running && self.last.event.is_some_and(|it| entry.id > it);
            if late || self.order.wanted.is_beyond(entry.id.millis) {
                more = false;
                break;
            }
            self.position.event = Some(entry.id);
            let original = entry.duplicate_of.is_none() && entry.event.unmappable.is_none();
            if original && entry.planned.is_some() && self.order.wanted.holds(&entry) {
                found.push(Found::Event(Box::new(entry)));
            }
        }
        Ok((found, more))
    }

    /// How many were run again.
    async fn run(&mut self, found: Vec<Found>) -> Result<u64, Status> {
        if found.is_empty() {
            return Ok(0);
        }
        let id = self.order.wanted.source();
        let source = self.tools.sources.borrow().sources.get(id).cloned();
        let source = source.ok_or_else(|| status::no_such_source(id))?;
        match &self.order.what {
            What::Dead { .. } => self.revive(&source, found).await,
            What::Events { id } => self.replay(*id, source, found).await,
        }
    }

    async fn revive(&self, source: &Arc<Source>, found: Vec<Found>) -> Result<u64, Status> {
        let mut all = Vec::new();
        for found in found {
            let Found::Action(action) = found else { continue };
            let entry = self.tools.store.event(action.id.event).await;
            let entry = entry.map_err(|error| status::store(&error))?;
            all.extend(entry.map(|entry| (entry, action.id)));
        }
        let source = source.clone();
        let again = blocking(move || {
            let one =
                |(entry, id): &(LogEntry, ActionId)| revivals(&source, entry, |it| it.id == *id);
            all.iter().flat_map(one).collect::<Vec<_>>()
        });
        let revived = self.tools.store.revive(again.await?).await;
        let revived = revived.map_err(|error| status::store(&error))?;
        Ok(u64::try_from(revived.into_iter().filter(|done| *done).count()).unwrap_or(u64::MAX))
    }

    async fn replay(
        &self,
        id: ReplayId,
        source: Arc<Source>,
        found: Vec<Found>,
    ) -> Result<u64, Status> {
        let destination = self.order.destination.clone();
        let planned = blocking(move || {
            let entries = found.iter().filter_map(|found| match found {
                Found::Event(entry) => Some(&**entry),
                Found::Action(_) => None,
            });
            let plan = |entry: &LogEntry| {
                let mut planned = render(&source, entry.id, &entry.event);
                let there = |name: &str| destination.as_deref().is_none_or(|it| it == name);
                planned.actions.retain(|action| there(&action.destination));
                planned
            };
            entries.map(plan).collect::<Vec<PlannedEvent>>()
        });
        let runs = self.tools.store.replay(id, planned.await?).await;
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
