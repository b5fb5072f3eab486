//! Plans into the ledger: records of actions, and their places in lanes. What is planned is the
//! ingest service's business.

use std::collections::HashSet;

use prost::Message;
use segment_source_core::{
    event::{ActionId, EventId},
    source::SourceHash,
};

use super::{
    engine::Engine,
    item::Item,
    keys::{self, Lane, QueueKey, Space},
    lanes,
    numbers::Numbers,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{Millis, PlannedEvent, Reason, ReplayId},
    fault::Fault,
    records::{self, ActionRecord, LogRecord, Pair, PlanRecord, RunRecord},
};

/// A planned event with everything done that needs no order.
pub(super) struct Prepared {
    event: EventId,
    record: PlanRecord,
    actions: Vec<PreparedAction>,
    bytes: usize,
}

struct PreparedAction {
    record: Vec<u8>,
    to: Result<(QueueKey, Lane), Reason>,
}

impl Prepared {
    /// Reads the event. `None`: it is not in the log.
    pub(super) fn new(engine: &Engine, planned: PlannedEvent) -> Result<Option<Self>, Fault> {
        let event = planned.event;
        let Some(day) = engine.day(event.millis) else { return Ok(None) };
        let Some(stored) = day.log.get(keys::log(event))? else { return Ok(None) };
        let entry = LogRecord::decode(&*stored)?;
        let lane = keys::lane(entry.order_key.as_deref(), event);
        let actions = planned.actions.into_iter().map(|action| {
            let queue = QueueKey::new(event.source, &action.destination);
            let (payload, to) = match action.rendered {
                Ok(payload) => (Some(payload), Ok((queue, lane))),
                Err(reason) => (None, Err(reason)),
            };
            let record = ActionRecord {
                mapping: action.mapping,
                action_type: action.action_type.to_owned(),
                destination: action.destination,
                event_type: entry.event_type.clone().unwrap_or_default(),
                event_timestamp: entry.timestamp.clone().unwrap_or_default(),
                payload,
            };
            PreparedAction { record: record.encode_to_vec(), to }
        });
        let actions: Vec<_> = actions.collect();
        let notes = planned.notes.into_iter().map(Pair::from).collect();
        let record = PlanRecord { generation: planned.generation, notes };
        let bytes = actions.iter().map(|action| action.record.len()).sum::<usize>();
        Ok(Some(Self { event, bytes: bytes + record.encoded_len(), record, actions }))
    }

    /// Roughly what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes it unless it is planned already, and moves the cursor. Returns the queues that got
    /// something. `erased`: events whose content went away after it was given to be planned.
    pub(super) fn plan(
        mut self,
        txn: &mut Txn<'_>,
        numbers: &mut Numbers,
        erased: &mut HashSet<EventId>,
    ) -> Result<Vec<QueueKey>, Fault> {
        if !advance(txn, self.event)? {
            return Ok(Vec::new());
        }
        if erased.remove(&self.event) {
            (self.record.notes, self.actions) = (Vec::new(), Vec::new());
        }
        let record = self.record.encode_to_vec();
        numbers.grew(self.event.source, record.len());
        txn.put_action(self.event.millis, &keys::log(self.event), record);
        self.append(txn, numbers, 0, None)
    }

    /// Writes it as another run of an event that is planned. Returns the run, and the queues that
    /// got something; `None`: the event has a run of this replay, or nothing to be run again.
    pub(super) fn replay(
        self,
        txn: &mut Txn<'_>,
        numbers: &mut Numbers,
        replay: ReplayId,
        now: Millis,
    ) -> Result<Option<(u16, Vec<QueueKey>)>, Fault> {
        let event = self.event;
        let planned = txn.action(event.millis, &keys::log(event))?.is_some();
        let Some(entry) = txn.entry(event)?.filter(|_| planned) else { return Ok(None) };
        if LogRecord::decode(&*entry)?.erased {
            return Ok(None);
        }
        let mut run = 1;
        while let Some(stored) = txn.action(event.millis, &keys::run(event, run))? {
            if RunRecord::decode(&*stored)?.replay == replay.0 || run == u16::MAX {
                return Ok(None);
            }
            run += 1;
        }
        let plan = Some(self.record.clone());
        let record = RunRecord { replay: replay.0.to_vec(), plan }.encode_to_vec();
        numbers.grew(event.source, record.len());
        txn.put_action(event.millis, &keys::run(event, run), record);
        Ok(Some((run, self.append(txn, numbers, run, Some((0, now)))?)))
    }

    fn append(
        self,
        txn: &mut Txn<'_>,
        numbers: &mut Numbers,
        run: u16,
        again: Option<(u32, Millis)>,
    ) -> Result<Vec<QueueKey>, Fault> {
        let event = self.event;
        let mut queues = Vec::new();
        for (PreparedAction { record, to }, index) in self.actions.into_iter().zip(0..) {
            let id = ActionId { event, run, index };
            let size = u32::try_from(record.len()).unwrap_or(u32::MAX);
            let item = Item { action: id, size, again };
            numbers.grew(event.source, record.len());
            txn.put_action(event.millis, &keys::action(id), record);
            match to {
                Ok((queue, lane)) => {
                    lanes::append(txn, numbers, queue, lane, item)?;
                    queues.push(queue);
                }
                Err(reason) => {
                    let state = StateRecord::new(State::Failed, Some(reason));
                    txn.set_state(id, state.encode_to_vec());
                    txn.put(Space::Dead, &keys::dead(id), Vec::new());
                }
            }
        }
        Ok(queues)
    }
}

/// The newest entry of a source that is planned, or needs no plan and has none before it that does.
pub(super) fn cursor(engine: &Engine, source: SourceHash) -> Result<Option<EventId>, Fault> {
    let stored = engine.space(Space::Cursors).get(source.0)?;
    stored.map(|id| records::event_id(&id)).transpose()
}

/// Moves the cursor of the entry's source to it; `false` when it is there already or beyond.
pub(super) fn advance(txn: &mut Txn<'_>, to: EventId) -> Result<bool, Fault> {
    let at = txn.get(Space::Cursors, &to.source.0)?;
    let at = at.map(|id| records::event_id(&id)).transpose()?;
    if at.is_some_and(|at| at >= to) {
        return Ok(false);
    }
    txn.put(Space::Cursors, &to.source.0, to.to_bytes().to_vec());
    Ok(true)
}
