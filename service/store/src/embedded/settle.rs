//! Ends of leases: by settlement, by time, by a consumer that went away.

use std::time::Duration;

use prost::Message;

use super::{
    keys::{self, Space},
    lanes,
    leases::{Lease, Leases},
    numbers::Numbers,
    state::{State, StateRecord},
    txn::Txn,
};
use crate::{
    contract::{LeaseToken, Millis, Reason, Settled, Settlement},
    fault::Fault,
};

/// What a settlement did, and the lease if it ended it.
pub(super) fn settle(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    now: Millis,
    token: LeaseToken,
    settlement: Settlement,
) -> Result<(Settled, Option<Lease>), Fault> {
    if let Settlement::Extend(by) = settlement {
        let expires = after(now, by);
        let open = leases.extend(token, by);
        return Ok((if open { Settled::Extended(expires) } else { Settled::LeaseLost }, None));
    }
    let Some(lease) = leases.end(token) else { return Ok((Settled::LeaseLost, None)) };
    match settlement {
        Settlement::Retry { delay, reason } => {
            let due = due(leases, &lease, now, delay);
            give_back(txn, numbers, &lease, now, due, Some(reason))?;
        }
        Settlement::Defer { delay } => {
            let due = due(leases, &lease, now, delay);
            give_back(txn, numbers, &lease, now, due, None)?;
        }
        Settlement::Reject { reason } => {
            let state = attempted(txn, &lease, now, State::Dead, Some(reason))?;
            txn.set_state(lease.action, state.encode_to_vec());
            txn.put(Space::Dead, &keys::dead(lease.action), Vec::new());
            lanes::remove_head(txn, numbers, &lease)?;
        }
        Settlement::Ack { answer } => {
            let mut state = attempted(txn, &lease, now, State::Delivered, None)?;
            state.answered(answer);
            txn.set_state(lease.action, state.encode_to_vec());
            lanes::remove_head(txn, numbers, &lease)?;
        }
        Settlement::Extend(_) => {}
    }
    Ok((Settled::Done, Some(lease)))
}

/// When a head that is put back is due; `None`: at once.
fn due(leases: &mut Leases, lease: &Lease, now: Millis, delay: Duration) -> Option<Millis> {
    let due = (!delay.is_zero()).then(|| after(now, delay))?;
    let first_due = &mut leases.queue(lease.queue).first_due;
    *first_due = Some(first_due.map_or(due, |first| first.min(due)));
    Some(due)
}

/// Why a lease ended without a settlement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lost {
    TimeIsUp,
    ConsumerGone,
    Closing,
}

impl Lost {
    fn reason(self) -> Reason {
        let (code, message) = match self {
            Self::TimeIsUp => ("lease_expired", "the lease ended before the consumer settled it"),
            Self::ConsumerGone => ("consumer_gone", "the consumer went away without settling"),
            Self::Closing => ("closing", "the program was stopped while a consumer had it"),
        };
        Reason { code: code.to_owned(), message: message.to_owned() }
    }
}

/// Ends a lease without a settlement; the action is ready at once.
pub(super) fn lose(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    leases: &mut Leases,
    now: Millis,
    token: LeaseToken,
    lost: Lost,
) -> Result<Option<Lease>, Fault> {
    let Some(lease) = leases.end(token) else { return Ok(None) };
    give_back(txn, numbers, &lease, now, None, Some(lost.reason()))?;
    Ok(Some(lease))
}

/// With a failure, the attempt counts.
fn give_back(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    lease: &Lease,
    now: Millis,
    due: Option<Millis>,
    failure: Option<Reason>,
) -> Result<(), Fault> {
    let mut tried = (lease.attempt, lease.first_attempt.or(Some(lease.started)));
    let mut state = match failure {
        Some(reason) => attempted(txn, lease, now, State::Pending, Some(reason))?,
        None => {
            tried = (lease.attempt - 1, lease.first_attempt);
            before(txn, lease)?
        }
    };
    state.not_before = due;
    txn.set_state(lease.action, state.encode_to_vec());
    lanes::return_head(txn, numbers, lease, due, tried);
    Ok(())
}

/// The action's state after the attempt of this lease.
fn attempted(
    txn: &Txn<'_>,
    lease: &Lease,
    now: Millis,
    state: State,
    failure: Option<Reason>,
) -> Result<StateRecord, Fault> {
    let mut record = before(txn, lease)?;
    record.state = state.into();
    record.attempts = lease.attempt;
    record.not_before = None;
    record.attempted(lease.started, now, failure);
    Ok(record)
}

/// The action's state before this lease. That of one never attempted is not worth a look.
fn before(txn: &Txn<'_>, lease: &Lease) -> Result<StateRecord, Fault> {
    if lease.attempt == 1 {
        return Ok(StateRecord::default());
    }
    StateRecord::read(txn.state(lease.action)?.as_deref())
}

fn after(now: Millis, delay: Duration) -> Millis {
    now.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(Millis::MAX))
}
