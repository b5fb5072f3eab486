//! The worker of one destination: takes what is ready while the destination may be asked, has it
//! attempted (`start`), and decides what becomes of it (`ended`).

mod ended;
mod start;

use std::{collections::HashMap, sync::Arc, time::Duration};

use segment_source_core::source::DestinationId;
use segment_source_store::{Ending, HoldLedger, Leased, Millis, StoreError};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Shared,
    attempt::{Ended, Ticket},
    breaker::{Breaker, Passes},
    hold::Refusal,
    metrics::Flags,
    settle::Settling,
    turns::Turns,
};
use crate::{Destination, Kind};

/// Longer than any attempt.
const LEASE: Duration = Duration::from_mins(1);

/// Actions that a directory is handed at once.
const BATCH: usize = 256;

/// While something is due, nothing is waited for longer without looking again: a clock that was set
/// back delays it by at most this much.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Between looks while the store cannot be read.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// A take of so many bytes was cut short by its size, and there may be more.
const LARGE: usize = 1 << 20;

pub(super) struct Worker {
    shared: Arc<Shared>,
    id: DestinationId,
    updates: watch::Receiver<Arc<Destination>>,
    destination: Arc<Destination>,
    /// Counts what `destination` was, as far as answers depend on it.
    edition: u32,
    ledger: HoldLedger,
    refusal: Refusal,
    breaker: Breaker,
    /// Of actions which wait for them in the store.
    turns: Turns,
    running: JoinSet<Vec<Ended>>,
    /// What each of the running is about.
    under_way: HashMap<Id, Vec<Ticket>>,
    /// How many actions that is.
    open: usize,
    settling: Settling,
    flags: Flags,
}

/// How many may be taken.
enum Allowance {
    /// Something else has to change first, which wakes the worker.
    Nothing,
    /// What is under way has to end first.
    Busy,
    NoneBefore(Instant),
    Some(usize),
    /// To find out how the destination is.
    Probe,
}

/// What a look found.
#[derive(Default)]
struct Look {
    /// Look again when an attempt has ended.
    more: bool,
    /// Look again then.
    due: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: DestinationId,
        mut updates: watch::Receiver<Arc<Destination>>,
    ) -> Self {
        let destination = updates.borrow_and_update().clone();
        Self {
            flags: shared.metrics.of_worker(destination.kind.name()),
            shared,
            id,
            updates,
            destination,
            edition: 0,
            ledger: HoldLedger::default(),
            refusal: Refusal::fresh(Instant::now()),
            breaker: Breaker::default(),
            turns: Turns::default(),
            running: JoinSet::new(),
            under_way: HashMap::new(),
            open: 0,
            settling: Settling::default(),
        }
    }

    /// Works until `stop`, then gives what is under way a while to end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut due = None;
        let mut more = true;
        let mut worth_a_look = true;
        let mut ready = std::pin::pin!(self.shared.store.ready(&self.id));
        while !stop.is_cancelled() {
            if std::mem::take(&mut worth_a_look) {
                // Armed before looking, so that nothing is missed that gets ready in between.
                ready.set(self.shared.store.ready(&self.id));
                let look = match self.look().await {
                    Ok(look) => look,
                    Err(StoreError::Closing) => break,
                    Err(error) => {
                        warn!(destination = %self.id, %error, "cannot take actions now");
                        Look { more: false, due: Some(Instant::now() + STORE_AGAIN) }
                    }
                };
                (more, due) = (look.more, look.due);
            }
            self.show();
            self.settling.start(&self.shared.store);
            let wake = due.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(ended) = self.running.join_next_with_id() => {
                    self.ended(ended).await;
                    while let Some(ended) = self.running.try_join_next_with_id() {
                        self.ended(ended).await;
                    }
                    worth_a_look = more;
                }
                () = self.settling.written() => worth_a_look = more,
                changed = self.updates.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.changed();
                    worth_a_look = true;
                }
                () = &mut ready => worth_a_look = true,
                () = sleep_until(wake), if due.is_some() => worth_a_look = true,
            }
        }
        self.finish().await;
    }

    /// The configuration of the destination changed.
    fn changed(&mut self) {
        let new = self.updates.borrow_and_update().clone();
        let old = std::mem::replace(&mut self.destination, new);
        if old.kind != self.destination.kind {
            self.edition = self.edition.wrapping_add(1);
            self.refusal = Refusal::fresh(Instant::now());
            self.turns = Turns::default();
            self.flags = self.shared.metrics.of_worker(self.destination.kind.name());
        }
    }

    fn show(&mut self) {
        self.flags.in_flight.set(i64::try_from(self.open).unwrap_or(i64::MAX));
        self.flags.open.set(self.breaker.is_open());
        self.flags.held.set(self.ledger.hold.is_some());
        self.flags.unresolved.set(!self.destination.kind.is_resolved());
    }

    /// Takes what may be taken, and starts attempts.
    async fn look(&mut self) -> Result<Look, StoreError> {
        let store = &self.shared.store;
        if !store.owns(&self.id.source) {
            return Ok(Look::default());
        }
        self.ledger = store.hold_ledger(&self.id).await?;
        let clock = (self.shared.clock)();
        if self.ledger.hold.as_ref().is_some_and(|hold| hold.is_over(clock)) {
            // In between it may have been held again, for longer.
            store.end_hold(&self.id, Ending::Over).await?;
            self.ledger = store.hold_ledger(&self.id).await?;
        }
        let now = Instant::now();
        let (most, probe) = match self.allowance(now, clock) {
            Allowance::Nothing => return Ok(Look::default()),
            Allowance::Busy => return Ok(Look { more: true, due: None }),
            Allowance::NoneBefore(due) => return Ok(Look { more: false, due: Some(due) }),
            Allowance::Some(most) => (most, false),
            Allowance::Probe => (1, true),
        };
        let taken = store.take_to_push(&self.id, most, LEASE).await?;
        let size = |it: &Leased| it.record.payload.as_ref().map_or(0, |it| it.len());
        let large = taken.leases.iter().map(size).sum::<usize>() >= LARGE;
        let more = taken.leases.len() == most || large;
        let due = taken.next_due.map(|due| {
            let wait = Duration::from_millis(due.saturating_sub((self.shared.clock)()));
            Instant::now() + wait.min(LOOK_AGAIN)
        });
        self.start(taken.leases, probe);
        Ok(Look { more, due })
    }

    fn allowance(&self, now: Instant, clock: Millis) -> Allowance {
        if self.destination.suspended || !self.destination.kind.is_resolved() {
            return Allowance::Nothing;
        }
        match &self.ledger.hold {
            Some(hold) if !hold.refused => {
                return hold.until.map_or(Allowance::Nothing, |until| {
                    let wait = Duration::from_millis(until.saturating_sub(clock));
                    Allowance::NoneBefore(now + wait.min(LOOK_AGAIN))
                });
            }
            Some(_) if self.open > 0 => return Allowance::Busy,
            Some(_) if self.refusal.next() > now => {
                return Allowance::NoneBefore(self.refusal.next());
            }
            Some(_) => return Allowance::Probe,
            None => {}
        }
        let most = match self.destination.kind {
            // One batch at a time: another one would only collide with it.
            Kind::Directory => BATCH * usize::from(self.open == 0),
            _ => self.destination.delivery.concurrency.saturating_sub(self.open),
        };
        match self.breaker.passes(now) {
            _ if self.settling.is_full() => Allowance::Busy,
            Passes::All if most == 0 => Allowance::Busy,
            Passes::All => Allowance::Some(most),
            Passes::One => Allowance::Probe,
            Passes::NoneBefore(due) => Allowance::NoneBefore(due),
            Passes::None => Allowance::Busy,
        }
    }

    /// Lets what is under way end within the time there is; the rest is given back.
    async fn finish(mut self) {
        let end = Instant::now() + self.shared.grace;
        while let Ok(Some(ended)) = timeout_at(end, self.running.join_next_with_id()).await {
            self.ended(ended).await;
        }
        self.running.shutdown().await;
        let left = self.under_way.drain().flat_map(|(_, about)| about);
        self.shared.store.release(left.map(|ticket| ticket.token).collect());
        self.settling.finish(&self.shared.store).await;
    }
}
