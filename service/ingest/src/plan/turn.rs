//! One turn of one source: its oldest unplanned events are read, rendered and written back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use segment_source_core::event::{Event, EventId};
use segment_source_store::{PlannedEvent, Store, StoreError, Unplanned};

use super::render::render;
use crate::{Source, again::revivals, metrics::PlanMetrics};

/// So many events are planned in one turn, at the most.
const EVENTS: usize = 256;

/// A turn ends with the event that brings its payloads to so many bytes; the events after it come
/// again in the next.
const PAYLOADS: usize = 8 << 20;

pub(super) struct Turn {
    pub(super) store: Store,
    /// The newest configuration at the turn's begin.
    pub(super) source: Arc<Source>,
    pub(super) metrics: PlanMetrics,
}

/// How a turn ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// There was nothing to plan.
    Nothing,
    /// Some events were planned; there may be more.
    Planned,
    /// Nothing was planned; the same events come again.
    Failed(String),
}

impl Turn {
    pub(super) async fn run(self) -> TurnEnd {
        match self.plan().await {
            Ok(0) => TurnEnd::Nothing,
            Ok(_) => TurnEnd::Planned,
            Err(error) => TurnEnd::Failed(error),
        }
    }

    /// How many entries were dealt with.
    async fn plan(&self) -> Result<usize, String> {
        let said = |error: StoreError| error.to_string();
        let id = self.source.id();
        let (mut events, mut repeats) = (Vec::new(), Vec::new());
        for unplanned in self.store.unplanned(id, EVENTS).await.map_err(said)? {
            match unplanned {
                Unplanned::Event(id, event) => events.push((id, event)),
                Unplanned::Repeat { entry, original } => repeats.push((entry, original)),
            }
        }
        let (oldest, wanted) = (events.first().map(|(id, _)| id.millis), events.len());
        let planned = self.render(events).await?;
        let last = planned.last().map(|it| it.event);
        if planned.len() < wanted {
            // Those behind what is planned now come again.
            repeats.retain(|(entry, _)| last.is_some_and(|last| *entry < last));
        }
        // Before the cursor moves, so that a crash forgets none of them.
        for (_, original) in &repeats {
            self.run_again(*original).await?;
        }
        let summary = Summary::of(&planned);
        if !planned.is_empty() {
            self.store.plan(id, planned).await.map_err(said)?;
        }
        if let Some((entry, _)) =
            repeats.last().filter(|(entry, _)| last.is_none_or(|it| it < *entry))
        {
            self.store.pass_over(id, *entry).await.map_err(said)?;
        }
        summary.count(&self.metrics);
        if let Some(oldest) = oldest {
            let age = self.store.now().saturating_sub(oldest);
            self.metrics.delay(Duration::from_millis(age));
        }
        Ok(summary.events + repeats.len())
    }

    /// An event was repeated whose actions failed or died: just those run again.
    async fn run_again(&self, original: EventId) -> Result<(), String> {
        let said = |error: StoreError| error.to_string();
        let Some(entry) = self.store.event(original).await.map_err(said)? else { return Ok(()) };
        let source = self.source.clone();
        let again = tokio::task::spawn_blocking(move || revivals(&source, &entry, |_| true)).await;
        let again = again.map_err(|error| format!("rendering did not end: {error}"))?;
        if !again.is_empty() {
            self.store.revive(again).await.map_err(said)?;
        }
        Ok(())
    }

    /// On a blocking thread: expressions and large bodies take their time.
    async fn render(&self, events: Vec<(EventId, Event)>) -> Result<Vec<PlannedEvent>, String> {
        let source = self.source.clone();
        let render = move || {
            let mut planned = Vec::with_capacity(events.len());
            let mut bytes = 0;
            for (id, event) in &events {
                let event = render(&source, *id, event);
                bytes += payloads(&event);
                planned.push(event);
                if bytes >= PAYLOADS {
                    break;
                }
            }
            planned
        };
        let rendered = tokio::task::spawn_blocking(render).await;
        rendered.map_err(|error| format!("rendering did not end: {error}"))
    }
}

/// Bytes of what an event was rendered into.
fn payloads(event: &PlannedEvent) -> usize {
    event.actions.iter().filter_map(|action| action.rendered.as_ref().ok()).map(Bytes::len).sum()
}

/// What is counted once a plan is durable.
struct Summary {
    events: usize,
    /// Action type, and whether it could be rendered.
    actions: Vec<(&'static str, bool)>,
}

impl Summary {
    fn of(planned: &[PlannedEvent]) -> Self {
        let actions = planned.iter().flat_map(|event| &event.actions);
        Self {
            events: planned.len(),
            actions: actions.map(|a| (a.action_type, a.rendered.is_ok())).collect(),
        }
    }

    fn count(&self, metrics: &PlanMetrics) {
        metrics.events.inc_by(u64::try_from(self.events).unwrap_or(u64::MAX));
        for (action_type, rendered) in &self.actions {
            metrics.action(action_type, *rendered);
        }
    }
}
