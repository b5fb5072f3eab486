//! Removing, to its callers: what is old, and what is to be forgotten.

use std::{sync::atomic::Ordering, time::Duration};

use segment_source_core::{event::EventId, source::SourceId};
use tokio::time::sleep;

use crate::{
    contract::{Removed, Retain, StoreError},
    embedded::{Store, command::Command, retain},
};

/// Before what may go is looked for again, because something began to run again.
const AGAIN: Duration = Duration::from_millis(100);

/// Events whose content goes away in one commit.
const ERASED_AT_ONCE: usize = 64;

impl Store {
    pub(crate) async fn retain(
        &self,
        source: &SourceId,
        keep: Retain,
    ) -> Result<Removed, StoreError> {
        let source = source.hash();
        let shared = &self.0.shared;
        let from = shared.retaining.next(&source);
        // From before anything is looked at.
        let reopened = shared.reopened.load(Ordering::SeqCst);
        let found = self.read(move |engine, _| retain::find(engine, source, keep, from)).await?;
        if found.is_empty() {
            // As a rule, so the writer is left alone.
            let more = found.resume.is_some();
            shared.retaining.go_on(source, found.resume);
            return Ok(Removed { more, ..Removed::default() });
        }
        let removing = self.ask(|answer| Command::Remove { found, reopened, answer }).await?;
        let Some((removed, retain::Found { resume, days, .. })) = removing else {
            // While much runs again, this would else be looked for again and again in vain.
            sleep(AGAIN).await;
            return Ok(Removed { more: true, ..Removed::default() });
        };
        shared.retaining.go_on(source, resume);
        if !days.is_empty() {
            let days = self.read(move |engine, _| engine.empty_days(&days)).await?;
            self.ask(|answer| Command::DropDays { days, answer }).await?;
        }
        Ok(removed)
    }

    pub(crate) async fn erase(&self, events: Vec<EventId>) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for events in events.chunks(ERASED_AT_ONCE) {
            let events = events.to_vec();
            let some = self.ask(|answer| Command::Erase { events, answer }).await?;
            removed.events += some.events;
            removed.actions += some.actions;
        }
        Ok(removed)
    }
}
