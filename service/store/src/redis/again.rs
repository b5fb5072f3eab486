//! Running again: failed and dead actions, and whole events.

use prost::Message as _;
use segment_source_core::{
    event::ActionId,
    source::{SourceHash, SourceId},
};

use super::{
    Store, partition,
    plan::{plan_records, push_actions},
    reply,
};
use crate::{
    contract::{ActionStatus, PlannedEvent, ReplayId, Revival, StoreError},
    fault::Fault,
    records::ActionRecord,
};

/// Dead letters read at once; of each the whole event is looked at.
const PAGE: usize = 64;

impl Store {
    pub(crate) async fn revive(&self, actions: Vec<Revival>) -> Result<Vec<bool>, StoreError> {
        let mut revived = Vec::with_capacity(actions.len());
        for Revival { action, payload } in actions {
            let record = match payload {
                None => Vec::new(),
                Some(payload) => match self.record(action).await? {
                    None => Vec::new(),
                    Some(record) => {
                        ActionRecord { payload: Some(payload), ..record }.encode_to_vec()
                    }
                },
            };
            let mut args = self.args().arg(1);
            args.bytes(action.to_bytes());
            args.bytes(record);
            let of = partition(action.event.source);
            let done: Vec<u8> = self.call(&self.scripts().revive, of, &args).await?;
            revived.push(done.first() == Some(&1));
        }
        Ok(revived)
    }

    async fn record(&self, action: ActionId) -> Result<Option<ActionRecord>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(action.event.source, "act")).arg(field(action));
        let stored: Option<Vec<u8>> = self.ask(&get).await?;
        let record = stored.map(|stored| {
            // Behind its destination.
            let record = stored.get(8..).ok_or(Fault::damaged("an action"))?;
            Ok::<_, Fault>(ActionRecord::decode(record)?)
        });
        Ok(record.transpose()?)
    }

    pub(crate) async fn dead(
        &self,
        source: &SourceId,
        after: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<ActionStatus>, StoreError> {
        let hash = source.hash();
        let (mut found, mut bytes, mut after) = (Vec::new(), 0, after);
        while found.len() < limit && bytes < super::page::LOOK_BYTES {
            let ids = self.dead_ids(hash, after, PAGE.min(limit - found.len())).await?;
            let mut events: Vec<_> = ids.iter().map(|id| id.event).collect();
            events.dedup();
            let stories = self.stories(hash, &events).await?;
            let Some(told) = stories.len().checked_sub(1).and_then(|last| events.get(last)) else {
                break;
            };
            after = ids.iter().rfind(|id| id.event <= *told).copied();
            let actions = stories.into_iter().flatten().flat_map(|story| story.actions);
            for status in actions.filter(|status| ids.binary_search(&status.id).is_ok()) {
                bytes += status.action.payload.as_ref().map_or(0, bytes::Bytes::len);
                found.push(status);
            }
        }
        Ok(found)
    }

    /// In their order.
    async fn dead_ids(
        &self,
        source: SourceHash,
        after: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<ActionId>, StoreError> {
        let from = match after {
            Some(after) => [b"(".as_slice(), &after.to_bytes()].concat(),
            None => b"-".to_vec(),
        };
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(self.key_of(source, "dead:")).arg(from).arg("+");
        let ids: Vec<Vec<u8>> = self.ask(range.arg("LIMIT").arg(0).arg(limit)).await?;
        ids.iter().map(|id| reply::action(id)).collect()
    }

    pub(crate) async fn replay(
        &self,
        replay: ReplayId,
        planned: Vec<PlannedEvent>,
    ) -> Result<Vec<Option<u16>>, StoreError> {
        let mut runs = Vec::with_capacity(planned.len());
        for event in planned {
            let Some(origin) = self.origin(event.event).await? else {
                runs.push(None);
                continue;
            };
            let id = event.event;
            let mut args = self.args();
            args.bytes(replay.0);
            args.push(1);
            args.bytes(id.source.0);
            args.bytes(&id.to_bytes()[..8]);
            args.bytes(plan_records(&event).0);
            push_actions(&mut args, event, origin);
            let run: Vec<u16> =
                self.call(&self.scripts().replay, partition(id.source), &args).await?;
            runs.push(run.first().copied().filter(|run| *run > 0));
        }
        Ok(runs)
    }
}

/// Where the hash of actions has an action.
fn field(action: ActionId) -> Vec<u8> {
    let id = action.to_bytes();
    [&id[8..16], &id[..8], &id[16..]].concat()
}
