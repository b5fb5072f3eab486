//! Plans into the ledger: records of actions, and their places in lanes. What is planned is the
//! ingest service's business.

use prost::Message;
use segment_source_core::{
    event::{ActionId, EventId},
    source::SourceHash,
};

use super::{
    engine::Engine,
    fault::Fault,
    keys::{self, Lane, QueueKey, Space},
    lanes,
    numbers::Numbers,
    records::{self, ActionRecord, Item, LogRecord, Pair, PlanRecord},
    state::{State, StateRecord},
    txn::Txn,
};
use crate::contract::{PlannedEvent, Reason};

/// A planned event with everything done that needs no order.
pub(super) struct Prepared {
    event: EventId,
    record: Vec<u8>,
    actions: Vec<PreparedAction>,
}

struct PreparedAction {
    id: ActionId,
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
        let actions = planned.actions.into_iter().zip(0..).map(|(action, index)| {
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
            let id = ActionId { event, run: 0, index };
            PreparedAction { id, record: record.encode_to_vec(), to }
        });
        let actions = actions.collect();
        let notes = planned.notes.into_iter().map(Pair::from).collect();
        let record = PlanRecord { generation: planned.generation, notes }.encode_to_vec();
        Ok(Some(Self { event, record, actions }))
    }

    /// Roughly what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        self.record.len() + self.actions.iter().map(|action| action.record.len()).sum::<usize>()
    }

    /// Writes it unless it is planned already, and moves the cursor. Returns the queues that got
    /// something.
    pub(super) fn plan(
        self,
        txn: &mut Txn<'_>,
        numbers: &mut Numbers,
    ) -> Result<Vec<QueueKey>, Fault> {
        if !advance(txn, self.event)? {
            return Ok(Vec::new());
        }
        let day = txn.engine.day_or_create(self.event.millis)?;
        txn.add(day.actions.clone(), &keys::log(self.event), self.record);
        let mut queues = Vec::new();
        for PreparedAction { id, record, to } in self.actions {
            let size = u32::try_from(record.len()).unwrap_or(u32::MAX);
            let item = Item { action: id, size, again: None };
            txn.add(day.actions.clone(), &keys::action(id), record);
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
