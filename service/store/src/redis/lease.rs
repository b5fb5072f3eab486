//! Heads of lanes into leases, and how leases end.

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use redis::Value;
use segment_source_core::source::short_hash;
use tokio::sync::futures::OwnedNotified;

use super::{Args, Store, page::typed, partition, reply};
use crate::{
    contract::{LeaseToken, Leased, Millis, Queue, Reason, Settled, Settlement, StoreError, Taken},
    fault::Fault,
    records::{ActionRecord, cut},
};

/// Records that one take gives, in bytes, unless a single one is larger: as with every store.
const TAKEN_BYTES: usize = 3 << 20;

/// Leases of one call of the script.
const TAKEN: usize = 1024;

/// Settlements of one call of the script.
const SETTLED: usize = 256;

impl Store {
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
        let mut partitions = BTreeMap::<u64, Vec<(usize, Args)>>::new();
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
                        until => Settled::Extended(typed(until)?),
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
