//! Removing: what is old, and what is to be forgotten.

use prost::Message as _;
use segment_source_core::{event::EventId, source::SourceId};

use super::{Store, partition};
use crate::{
    contract::{Removed, Retain, StoreError},
    records::{ActionRecord, ERASED, Pair, PlanRecord},
};

impl Store {
    pub(crate) async fn retain(
        &self,
        source: &SourceId,
        keep: Retain,
    ) -> Result<Removed, StoreError> {
        let hash = source.hash();
        let from = self.0.retaining.next(&hash);
        let mut args = self.args();
        args.bytes(hash.0);
        args.push(keep.before);
        args.push(keep.bytes.map_or(String::new(), |bytes| bytes.to_string()));
        args.bytes(from.unwrap_or_default());
        let (events, actions, next): (u64, u64, Vec<u8>) =
            self.call(&self.scripts().retain, partition(hash), &args).await?;
        let more = !next.is_empty();
        self.0.retaining.go_on(hash, more.then_some(next));
        Ok(Removed { events, actions, more })
    }

    pub(crate) async fn erase(&self, events: Vec<EventId>) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for event in events {
            // As often as something is planned or replayed meanwhile.
            let actions = loop {
                match self.erase_one(event).await? {
                    -2 => {}
                    actions => break actions,
                }
            };
            if let Ok(actions) = u64::try_from(actions) {
                removed.events += 1;
                removed.actions += actions;
            }
        }
        Ok(removed)
    }

    /// What the script says.
    async fn erase_one(&self, event: EventId) -> Result<i64, StoreError> {
        let Some(mut entry) = self.entry(event).await?.filter(|entry| !entry.erased) else {
            return Ok(-1);
        };
        let hash = event.source;
        let mut get = redis::cmd("HGET");
        let field = [&hash.0, &event.to_bytes()[..8]].concat();
        let plan: Option<Vec<u8>> = self.ask(get.arg(self.key(hash, "act")).arg(field)).await?;
        let story = self.stories(hash, &[event]).await?.pop().flatten();
        let mut args = self.args();
        args.bytes(hash.0);
        args.bytes(&event.to_bytes()[..8]);
        args.bytes(plan.unwrap_or_default());
        entry.forget();
        args.bytes(entry.encode_to_vec());
        let blank = |planned: &crate::contract::Planned| {
            let notes = planned.notes.iter();
            let notes = notes.map(|(subject, _)| Pair::from((subject.clone(), ERASED.to_owned())));
            PlanRecord { generation: planned.generation, notes: notes.collect() }.encode_to_vec()
        };
        let (planned, actions) = match story {
            Some(story) => (story.planned, story.actions),
            None => Default::default(),
        };
        args.bytes(blank(&planned));
        args.push(planned.replays.len());
        planned.replays.iter().for_each(|(_, run)| args.bytes(blank(run)));
        args.push(actions.len());
        for status in actions {
            args.bytes(status.id.to_bytes());
            let had = status.action.payload.is_some();
            let record = ActionRecord { payload: None, ..ActionRecord::from(status.action) };
            args.bytes(record.encode_to_vec());
            args.push(u8::from(had));
        }
        self.call(&self.scripts().erase, partition(hash), &args).await
    }
}
