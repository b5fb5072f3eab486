//! Plans stored events: a loop that gives each source with unplanned events its turns. Of one
//! source at most one turn runs at a time (the log's order is the order of planning), of all
//! sources at most [`TURNS`]. A source that cannot be planned now (not configured, or delivery is
//! suspended) is parked until the configuration changes; one whose store failed waits out a
//! backoff. Nothing is remembered that the store would not tell again after a restart.
//!
//! [`turn`] is what happens in a turn, [`render`] what becomes of one event (pure).

mod render;
mod turn;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use segment_source_core::source::SourceId;
use segment_source_store::Store;
use tokio::{
    sync::watch,
    task::{self, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{Source, Sources, metrics::PlanMetrics};
pub(crate) use render::render;
use turn::{Turn, TurnEnd};

/// So many sources are planned at the same time.
const TURNS: usize = 4;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// Renders stored events into actions.
pub struct Planner {
    store: Store,
    sources: watch::Receiver<Arc<Sources>>,
    metrics: PlanMetrics,
    /// Sources that want a turn, each once.
    queue: VecDeque<SourceId>,
    /// Each source that is queued, at its turn or backing off.
    busy: HashMap<SourceId, Busy>,
    /// Sources with unplanned events that wait for the configuration to change.
    parked: HashSet<SourceId>,
    turns: JoinSet<TurnEnd>,
    /// Whose turn each task of `turns` is.
    at_turn: HashMap<task::Id, SourceId>,
    backing_off: JoinSet<SourceId>,
}

/// What is kept of a source while it has work.
#[derive(Default)]
struct Busy {
    /// Events came since its turn began, so that a turn that found nothing proves nothing.
    more: bool,
    /// Turns in a row that failed.
    failures: u32,
}

impl Planner {
    /// A planner; [`Planner::run`] starts it.
    #[must_use]
    pub fn new(
        store: Store,
        sources: watch::Receiver<Arc<Sources>>,
        registry: &mut Registry,
    ) -> Self {
        Self {
            store,
            sources,
            metrics: PlanMetrics::register(registry),
            queue: VecDeque::new(),
            busy: HashMap::new(),
            parked: HashSet::new(),
            turns: JoinSet::new(),
            at_turn: HashMap::new(),
            backing_off: JoinSet::new(),
        }
    }

    /// Plans until `cancel` is cancelled, then finishes the turns under way.
    pub async fn run(mut self, cancel: CancellationToken) {
        let store = self.store.clone();
        let mut sources = self.sources.clone();
        let mut configured = true;
        loop {
            self.give_turns();
            tokio::select! {
                () = cancel.cancelled() => break,
                unplanned = store.unplanned_sources() => {
                    for source in unplanned {
                        self.wanted(source);
                    }
                }
                changed = sources.changed(), if configured => match changed {
                    Ok(()) => self.unpark(),
                    // Whoever publishes the configuration is gone; the last one stays.
                    Err(_) => configured = false,
                },
                Some(ended) = self.turns.join_next_with_id() => match ended {
                    Ok((task, end)) => self.ended(task, end),
                    // It panicked; the events are still in the log.
                    Err(error) => self.ended(error.id(), TurnEnd::Failed(error.to_string())),
                },
                Some(Ok(source)) = self.backing_off.join_next() => self.queue.push_back(source),
            }
        }
        while self.turns.join_next().await.is_some() {}
    }

    /// The store says that a source has unplanned events.
    fn wanted(&mut self, source: SourceId) {
        if let Some(busy) = self.busy.get_mut(&source) {
            busy.more = true;
        } else if !self.parked.contains(&source) {
            self.busy.insert(source.clone(), Busy::default());
            self.queue.push_back(source);
        }
    }

    fn unpark(&mut self) {
        for source in std::mem::take(&mut self.parked) {
            self.wanted(source);
        }
        self.metrics.parked.set(0);
    }

    /// Starts as many turns as there is room for. A source that cannot be planned with the newest
    /// configuration is parked; whether that changed since is seen by `changed` afterwards, because
    /// only that marks a configuration as seen.
    fn give_turns(&mut self) {
        while self.turns.len() < TURNS
            && let Some(id) = self.queue.pop_front()
        {
            let Some(source) = self.plannable(&id) else {
                self.busy.remove(&id);
                self.parked.insert(id);
                self.metrics.parked.set(i64::try_from(self.parked.len()).unwrap_or(i64::MAX));
                continue;
            };
            if let Some(busy) = self.busy.get_mut(&id) {
                busy.more = false;
            }
            let turn = Turn { store: self.store.clone(), source, metrics: self.metrics.clone() };
            let task = self.turns.spawn(turn.run()).id();
            self.at_turn.insert(task, id);
        }
    }

    fn plannable(&self, id: &SourceId) -> Option<Arc<Source>> {
        let sources = self.sources.borrow();
        sources.sources.get(id).filter(|source| !source.delivery_suspended).cloned()
    }

    fn ended(&mut self, task: task::Id, end: TurnEnd) {
        let Some(source) = self.at_turn.remove(&task) else { return };
        let Some(busy) = self.busy.get_mut(&source) else { return };
        match end {
            TurnEnd::Nothing if !busy.more => {
                self.busy.remove(&source);
            }
            // To the back of the queue, so that a source with a long backlog delays no other.
            TurnEnd::Nothing | TurnEnd::Planned => {
                busy.failures = 0;
                self.queue.push_back(source);
            }
            TurnEnd::Failed(reason) => {
                let wait = backoff(busy.failures);
                busy.failures = busy.failures.saturating_add(1);
                self.metrics.retries.inc();
                tracing::warn!(%source, %reason, ?wait, "events could not be planned, trying again");
                self.backing_off.spawn(async move {
                    sleep(wait).await;
                    source
                });
            }
        }
    }
}

/// Doubles with every failure, up to [`LAST_BACKOFF`].
fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(LAST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_BACKOFF, LAST_BACKOFF, backoff};

    #[test]
    fn backoff_doubles_and_ends() {
        assert_eq!(backoff(0), FIRST_BACKOFF);
        assert_eq!(backoff(1), FIRST_BACKOFF * 2);
        assert_eq!(backoff(6), FIRST_BACKOFF * 64);
        assert_eq!(backoff(7), LAST_BACKOFF);
        assert_eq!(backoff(u32::MAX), LAST_BACKOFF);
    }
}
