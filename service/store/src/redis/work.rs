//! What is to be planned, and what is to be delivered, to those who do it.

use std::time::Duration;

use prost::Message as _;
use redis::Value;
use segment_source_core::{
    event::EventId,
    source::{SourceId, short_hash},
};
use tokio::sync::futures::OwnedNotified;

use super::{
    Args, Store,
    page::{Bound, Entry, LOOK_BYTES, Range},
    partition, reply,
    shared::{Origin, lock},
};
use crate::{
    contract::{
        LeaseToken, Leased, Millis, PlannedEvent, Queue, Reason, Settled, Settlement, StoreError,
        Taken, Unplanned,
    },
    fault::Fault,
    records::{ActionRecord, Pair, PlanRecord, cut, lane},
};

/// Records that one take gives, in bytes, unless a single one is larger: as with every store.
const TAKEN_BYTES: usize = 3 << 20;
/// Leases of one call of the script.
const TAKEN: usize = 1024;
/// Events planned by one call of the script, and their bytes: nobody else is served meanwhile.
const PLANNED: usize = 128;
/// As [`PLANNED`].
const PLANNED_BYTES: usize = 2 << 20;
/// Settlements of one call of the script.
const SETTLED: usize = 256;

impl Store {
    pub(crate) async fn unplanned_sources(&self) -> Vec<SourceId> {
        loop {
            let sources = self.0.take_unplanned();
            if !sources.is_empty() {
                return sources;
            }
            self.0.unplanned_bell.notified().await;
        }
    }

    pub(crate) fn mark_unplanned(&self, source: &SourceId) {
        self.0.mark_unplanned(source);
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
        let mut found = Vec::new();
        let mut bytes = 0;
        while self.owns(source) && found.len() < limit && bytes < LOOK_BYTES {
            let range = Range { from, until: Bound::Open, newest_first: false };
            let (entries, ended) = self.entries(hash, range, limit - found.len()).await?;
            let Some((last, _)) = entries.last() else { break };
            let last = *last;
            bytes += entries.iter().map(|(_, record)| record.body.len()).sum::<usize>();
            found.extend(self.wanted(entries, any_failed).await?);
            if found.is_empty() {
                self.pass_over(source, last).await?;
            }
            if ended {
                break;
            }
            from = Bound::Beyond(last);
        }
        Ok(found)
    }

    /// Those that need a plan, or have an original of which something failed.
    async fn wanted(
        &self,
        entries: Vec<Entry>,
        any_failed: bool,
    ) -> Result<Vec<Unplanned>, StoreError> {
        let mut found = Vec::new();
        let mut origins = Vec::new();
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
                origins.push((id, origin));
                found.push(Unplanned::Event(id, event));
            }
        }
        lock(&self.0.origins).extend(origins);
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
        let mut planned = planned.into_iter().peekable();
        while planned.peek().is_some() {
            let (mut count, mut bytes) = (0, 0);
            let mut of_events = Args::default();
            while let Some(event) = planned.next_if(|_| count < PLANNED && bytes < PLANNED_BYTES) {
                let origin = lock(&self.0.origins).remove(&event.event);
                let origin = match origin {
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
            let mut args = self.args().arg(&self.0.holder).arg(count);
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
        script: &super::Script,
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

    pub(crate) async fn take(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        self.take_as(queue, max, lease, false).await
    }

    pub(crate) async fn take_to_push(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
    ) -> Result<Taken, StoreError> {
        if !self.owns(&queue.source) {
            return Ok(Taken::default());
        }
        self.take_as(queue, max, lease, true).await
    }

    async fn take_as(
        &self,
        queue: &Queue,
        max: usize,
        lease: Duration,
        owner: bool,
    ) -> Result<Taken, StoreError> {
        self.0.open()?;
        self.send_released().await?;
        let source = queue.source.hash();
        let max = max.min(TAKEN);
        let mut tokens = vec![0; 16 * max];
        getrandom::fill(&mut tokens).map_err(|error| {
            StoreError::Unavailable(format!("the system gives no random bytes: {error}"))
        })?;
        let mut args = self.args();
        args.bytes(queue_key(queue));
        args.push(max);
        args.push(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX >> 12));
        args.push(TAKEN_BYTES);
        args.bytes(self.0.holder);
        args.push(u8::from(owner));
        args.bytes(tokens.as_slice());
        let tokens = tokens.as_chunks().0.iter().map(|random| LeaseToken::new(source, *random));
        // Until they are the caller's.
        let mut granted = Granted { store: self, tokens: tokens.collect() };
        type Row = (Vec<u8>, u32, Millis, Vec<u8>, Vec<u8>);
        let taken: Option<(Millis, String, Vec<Row>)> =
            self.call(&self.scripts().take, partition(source), &args).await?;
        let Some((now, next_due, rows)) = taken else {
            self.0.set_owned(partition(source), None);
            granted.tokens.clear();
            return Ok(Taken::default());
        };
        self.0.heard_time(now);
        let expires = now.saturating_add(u64::try_from(lease.as_millis()).unwrap_or(Millis::MAX));
        let leases = rows.into_iter().map(|(token, attempt, first_attempt, action, record)| {
            let token = token.try_into().map_err(|_| Fault::damaged("a lease's token"))?;
            Ok(Leased {
                token: LeaseToken::new(source, token),
                expires,
                attempt,
                first_attempt: Some(first_attempt).filter(|first| *first > 0),
                action: reply::action(&action)?,
                record: ActionRecord::decode(bytes::Bytes::from(record))
                    .map_err(Fault::from)?
                    .into(),
            })
        });
        let leases = leases.collect::<Result<_, StoreError>>()?;
        granted.tokens.clear();
        Ok(Taken { leases, next_due: next_due.parse().ok() })
    }

    pub(crate) fn ready(&self, queue: &Queue) -> OwnedNotified {
        self.0.queues.listen(queue_key(queue))
    }

    pub(crate) async fn settle(
        &self,
        settlements: Vec<(LeaseToken, Settlement)>,
    ) -> Result<Vec<Settled>, StoreError> {
        self.0.open()?;
        self.send_released().await?;
        self.settle_all(settlements.into_iter().map(|(token, settlement)| {
            let mut args = Args::default();
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 12);
            let (what, time, code, words) = match settlement {
                Settlement::Ack { answer } => ("ack", 0, String::new(), answer),
                Settlement::Retry { delay, reason: Reason { code, message } } => {
                    ("retry", millis(delay), code, message)
                }
                Settlement::Defer { delay } => {
                    ("defer", millis(delay), String::new(), String::new())
                }
                Settlement::Reject { reason: Reason { code, message } } => {
                    ("reject", 0, code, message)
                }
                Settlement::Extend(time) => ("extend", millis(time), String::new(), String::new()),
            };
            push_settlement(&mut args, token, what, time, &code, cut(words));
            (token, args)
        }))
        .await
    }

    /// In order; those of one partition in as few steps as may be.
    async fn settle_all(
        &self,
        settlements: impl Iterator<Item = (LeaseToken, Args)>,
    ) -> Result<Vec<Settled>, StoreError> {
        let mut partitions = std::collections::BTreeMap::<u64, Vec<(usize, Args)>>::new();
        let mut count = 0;
        for (at, (token, args)) in settlements.enumerate() {
            partitions.entry(partition(token.source())).or_default().push((at, args));
            count = at + 1;
        }
        let mut settled = vec![Settled::LeaseLost; count];
        for (partition, settlements) in partitions {
            let mut settlements = settlements.into_iter().peekable();
            while settlements.peek().is_some() {
                let batch: Vec<_> = settlements.by_ref().take(SETTLED).collect();
                let mut args = self.args().arg(batch.len());
                let places: Vec<_> = batch.iter().map(|(at, _)| *at).collect();
                batch.into_iter().for_each(|(_, of_one)| args.append(of_one));
                let answers: Vec<Value> =
                    self.call(&self.scripts().settle, partition, &args).await?;
                for (at, answer) in places.into_iter().zip(answers) {
                    settled[at] = match answer {
                        Value::Int(1) => Settled::Done,
                        Value::Int(_) => Settled::LeaseLost,
                        until => Settled::Extended(super::page::typed(until)?),
                    };
                }
            }
        }
        Ok(settled)
    }

    pub(crate) fn release(&self, tokens: Vec<LeaseToken>) {
        self.0.release(tokens);
    }

    /// Gives back what was released, before whatever the caller asks next.
    pub(super) async fn send_released(&self) -> Result<(), StoreError> {
        let _sending = self.0.released.lock().await;
        let tokens = self.0.take_released();
        if tokens.is_empty() {
            return Ok(());
        }
        let lost = tokens.iter().map(|token| {
            let mut args = Args::default();
            let words = "the consumer went away without settling".to_owned();
            push_settlement(&mut args, *token, "lose", 0, "consumer_gone", words);
            (*token, args)
        });
        let sent = self.settle_all(lost).await;
        if sent.is_err() {
            self.0.release(tokens);
        }
        sent.map(drop)
    }
}

/// New leases on their way to the taker. If it is gone by then, or nothing is known of them, they are
/// released.
struct Granted<'s> {
    store: &'s Store,
    tokens: Vec<LeaseToken>,
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        if !self.tokens.is_empty() {
            self.store.0.release(self.tokens.drain(..));
        }
    }
}

/// Source and destination.
pub(super) fn queue_key(queue: &Queue) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&queue.source.hash().0);
    key[8..].copy_from_slice(&short_hash(queue.name.as_bytes()));
    key
}

fn push_settlement(
    args: &mut Args,
    token: LeaseToken,
    what: &str,
    time: u64,
    code: &str,
    words: String,
) {
    args.bytes(&token.0[8..]);
    args.bytes(token.source().0);
    args.push(what);
    args.push(time);
    args.push(code);
    args.push(words);
}

/// How many bytes it has.
fn push_planned(args: &mut Args, planned: PlannedEvent, origin: Origin) -> usize {
    let event = planned.event;
    args.bytes(event.source.0);
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
