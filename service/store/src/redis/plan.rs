//! What is to be planned, to who plans; and plans into the ledger.

use std::collections::HashMap;

use prost::Message as _;
use segment_source_core::{
    event::EventId,
    source::{SourceId, short_hash},
};

use super::{
    Args, Script, Store,
    page::{Bound, Entry, LOOK_BYTES, Range},
    partition, reply,
    shared::Origin,
};
use crate::{
    contract::{PlannedEvent, Reason, StoreError, Unplanned},
    memory::lock,
    records::{ActionRecord, Pair, PlanRecord, cut, lane},
};

/// Events planned by one call of the script, and their bytes: nobody else is served meanwhile.
const PLANNED: usize = 128;

/// As [`PLANNED`].
const PLANNED_BYTES: usize = 2 << 20;

impl Store {
    pub(crate) async fn unplanned_sources(&self) -> Vec<SourceId> {
        self.0.unplanned.take().await
    }

    pub(crate) fn mark_unplanned(&self, source: &SourceId) {
        self.0.unplanned.mark([source.clone()]);
    }

    pub(crate) fn owns(&self, source: &SourceId) -> bool {
        self.0.owns(source.hash())
    }

    pub(crate) async fn unplanned(
        &self,
        source: &SourceId,
        limit: usize,
    ) -> Result<Vec<Unplanned>, StoreError> {
        let hash = source.hash();
        let (cursors, deads) = (self.key(hash, "cur"), self.key_of(hash, "dead:"));
        let mut both = redis::pipe();
        both.cmd("HGET").arg(&cursors).arg(&hash.0).cmd("EXISTS").arg(&deads);
        self.0.open()?;
        let found = both.query_async(&mut self.0.connection.clone()).await;
        let (cursor, any_failed): (Option<Vec<u8>>, bool) = self.answer(found)?;
        let cursor = cursor.map(|cursor| reply::id(&cursor, hash)).transpose()?;
        let mut from = cursor.map_or(Bound::Open, Bound::Beyond);
        let (mut found, mut bytes, mut origins) = (Vec::new(), 0, HashMap::new());
        while self.owns(source) && found.len() < limit && bytes < LOOK_BYTES {
            let range = Range { from, until: Bound::Open, newest_first: false };
            let (entries, ended) = self.entries(hash, range, limit - found.len()).await?;
            let Some((last, _)) = entries.last() else { break };
            let last = *last;
            bytes += entries.iter().map(|(_, record)| record.body.len()).sum::<usize>();
            found.extend(self.wanted(entries, any_failed, &mut origins).await?);
            if found.is_empty() {
                self.pass_over(source, last).await?;
            }
            if ended {
                break;
            }
            from = Bound::Beyond(last);
        }
        lock(&self.0.origins).insert(hash, origins);
        Ok(found)
    }

    /// Those that need a plan, or have an original of which something failed.
    async fn wanted(
        &self,
        entries: Vec<Entry>,
        any_failed: bool,
        origins: &mut HashMap<EventId, Origin>,
    ) -> Result<Vec<Unplanned>, StoreError> {
        let mut found = Vec::new();
        for (id, record) in entries {
            if let Some(original) = record.original()? {
                if any_failed && self.has_failed(original).await? {
                    found.push(Unplanned::Repeat { entry: id, original });
                }
            } else if record.unmappable.is_none() && !record.erased {
                let event = record.into_event()?;
                let origin = Origin {
                    order_key: event.order_key.clone(),
                    event_type: event.event_type.clone().unwrap_or_default(),
                    timestamp: event.timestamp.clone().unwrap_or_default(),
                };
                origins.insert(id, origin);
                found.push(Unplanned::Event(id, event));
            }
        }
        Ok(found)
    }

    async fn has_failed(&self, original: EventId) -> Result<bool, StoreError> {
        let id = original.to_bytes();
        let mut first = redis::cmd("ZRANGEBYLEX");
        first.arg(self.key_of(original.source, "dead:"));
        first.arg([b"[", &id[..8]].concat()).arg([b"[", &id[..8], &[0xff; 17]].concat());
        let found: Vec<Vec<u8>> = self.ask(first.arg("LIMIT").arg(0).arg(1)).await?;
        Ok(!found.is_empty())
    }

    pub(crate) async fn plan(
        &self,
        source: &SourceId,
        planned: Vec<PlannedEvent>,
    ) -> Result<(), StoreError> {
        let known = lock(&self.0.origins).remove(&source.hash());
        let mut known = known.unwrap_or_default();
        let mut planned = planned.into_iter().peekable();
        while planned.peek().is_some() {
            let (mut count, mut bytes) = (0, 0);
            let mut of_events = Args::default();
            while let Some(event) = planned.next_if(|_| count < PLANNED && bytes < PLANNED_BYTES) {
                let origin = match known.remove(&event.event) {
                    Some(origin) => origin,
                    None => match self.origin(event.event).await? {
                        Some(origin) => origin,
                        None => {
                            tracing::error!(%source, event = %event.event, "a planned event is not in the log");
                            continue;
                        }
                    },
                };
                bytes += push_planned(&mut of_events, event, origin);
                count += 1;
            }
            let mut args = self.args().arg(&self.0.holder);
            args.bytes(source.hash().0);
            args.push(count);
            args.append(of_events);
            self.as_owner(&self.scripts().plan, source, &args).await?;
        }
        Ok(())
    }

    /// What its actions have from an event that is in the log.
    pub(super) async fn origin(&self, event: EventId) -> Result<Option<Origin>, StoreError> {
        let Some(record) = self.entry(event).await? else { return Ok(None) };
        Ok(Some(Origin {
            order_key: record.order_key,
            event_type: record.event_type.unwrap_or_default(),
            timestamp: record.timestamp.unwrap_or_default(),
        }))
    }

    /// Calls what only the owner of the source's partition may.
    async fn as_owner(
        &self,
        script: &Script,
        source: &SourceId,
        args: &Args,
    ) -> Result<(), StoreError> {
        let done: Option<bool> = self.call(script, partition(source.hash()), args).await?;
        done.map(drop).ok_or_else(|| {
            self.0.set_owned(partition(source.hash()), None);
            StoreError::Unavailable("another process plans this source now".into())
        })
    }

    pub(crate) async fn pass_over(
        &self,
        source: &SourceId,
        entry: EventId,
    ) -> Result<(), StoreError> {
        if entry.source != source.hash() {
            tracing::error!(%source, %entry, "an entry of another source is passed over");
            return Ok(());
        }
        let mut args = self.args().arg(&self.0.holder);
        args.bytes(entry.source.0);
        args.bytes(&entry.to_bytes()[..8]);
        self.as_owner(&self.scripts().advance, source, &args).await
    }
}

/// How many bytes it has.
fn push_planned(args: &mut Args, planned: PlannedEvent, origin: Origin) -> usize {
    let event = planned.event;
    args.bytes(&event.to_bytes()[..8]);
    args.bytes(lane(origin.order_key.as_deref(), event));
    let (record, blank) = plan_records(&planned);
    let bytes = record.len();
    args.bytes(record);
    args.bytes(blank);
    bytes + push_actions(args, planned, origin)
}

/// A plan, and what stays of it when its event is erased.
pub(super) fn plan_records(planned: &PlannedEvent) -> (Vec<u8>, Vec<u8>) {
    let generation = planned.generation;
    let notes = planned.notes.iter().cloned().map(Pair::from).collect();
    let blank = PlanRecord { generation, notes: Vec::new() }.encode_to_vec();
    (PlanRecord { generation, notes }.encode_to_vec(), blank)
}

/// The actions of a plan, as scripts take them; how many bytes they have.
pub(super) fn push_actions(args: &mut Args, planned: PlannedEvent, origin: Origin) -> usize {
    args.push(planned.actions.len());
    let mut bytes = 0;
    for action in planned.actions {
        args.bytes(short_hash(action.destination.as_bytes()));
        let (payload, Reason { code, message }) = match action.rendered {
            Ok(payload) => (Some(payload), Reason { code: String::new(), message: String::new() }),
            Err(reason) => (None, reason),
        };
        let record = ActionRecord {
            mapping: action.mapping,
            action_type: action.action_type.to_owned(),
            destination: action.destination,
            event_type: origin.event_type.clone(),
            event_timestamp: origin.timestamp.clone(),
            payload,
        };
        let record = record.encode_to_vec();
        bytes += record.len();
        args.bytes(record);
        args.push(code);
        args.push(cut(message));
    }
    bytes
}
