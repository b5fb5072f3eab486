//! A destination: whether it is held, how much waits, what waited too long.

use super::{Store, lease::queue_key, partition};
use crate::{
    contract::{Backlog, Ending, Hold, HoldLedger, Millis, Queue, Reason, Removed, StoreError},
    holds::{self, Place},
    records::cut,
};

impl Store {
    pub(crate) async fn hold_ledger(&self, queue: &Queue) -> Result<HoldLedger, StoreError> {
        Ok(holds::read(self.held(queue).await?.as_deref())?)
    }

    async fn held(&self, queue: &Queue) -> Result<Option<Vec<u8>>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(queue.source.hash(), "hold")).arg(&queue_key(queue));
        self.ask(&get).await
    }

    /// Changes what is remembered, as often as somebody else did so meanwhile.
    async fn change_hold<T>(
        &self,
        queue: &Queue,
        change: impl Fn(HoldLedger) -> Option<(HoldLedger, T)>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let before = self.held(queue).await?;
            let ledger = holds::read(before.as_deref())?;
            let Some((ledger, changed)) = change(ledger) else { return Ok(None) };
            let mut args = self.args();
            args.bytes(queue_key(queue));
            args.bytes(before.unwrap_or_default());
            args.bytes(holds::to_bytes(ledger));
            let of = partition(queue.source.hash());
            if self.call(&self.scripts().swap, of, &args).await? {
                return Ok(Some(changed));
            }
        }
    }

    pub(crate) async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), StoreError> {
        self.hold_at(queue, hold, Place::Taken).await.map(drop)
    }

    pub(crate) async fn hold_if_free(&self, queue: &Queue, hold: Hold) -> Result<bool, StoreError> {
        self.hold_at(queue, hold, Place::Free).await
    }

    async fn hold_at(&self, queue: &Queue, hold: Hold, place: Place) -> Result<bool, StoreError> {
        let now = self.now();
        let held = self.change_hold(queue, |ledger| {
            Some((holds::hold(ledger, now, hold.clone(), place)?, ()))
        });
        Ok(held.await?.is_some())
    }

    pub(crate) async fn end_hold(
        &self,
        queue: &Queue,
        which: Ending,
    ) -> Result<Option<Hold>, StoreError> {
        let now = self.now();
        self.change_hold(queue, |ledger| holds::end_hold(ledger, now, &which)).await
    }

    pub(crate) async fn backlog(&self, queue: &Queue) -> Result<Backlog, StoreError> {
        let mut args = self.args();
        args.bytes(queue_key(queue));
        let (lanes, oldest): (u64, String) =
            self.call(&self.scripts().backlog, partition(queue.source.hash()), &args).await?;
        Ok(Backlog { lanes, oldest: oldest.parse().ok() })
    }

    pub(crate) async fn expire(
        &self,
        queue: &Queue,
        before: Millis,
        reason: Reason,
    ) -> Result<Removed, StoreError> {
        let key = queue_key(queue);
        let from = self.0.expiring.next(&key);
        let mut args = self.args();
        args.bytes(key);
        args.push(before);
        args.push(reason.code);
        args.push(cut(reason.message));
        args.bytes(from.unwrap_or_else(|| b"0".to_vec()));
        let (actions, next): (u64, Vec<u8>) =
            self.call(&self.scripts().expire, partition(queue.source.hash()), &args).await?;
        let more = next != b"0";
        self.0.expiring.go_on(key, more.then_some(next));
        Ok(Removed { events: 0, actions, more })
    }
}
