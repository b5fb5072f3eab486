//! Ends of leases: by settlement, by time, by a consumer that went away.

use prost::Message;

use super::{
    fault::Fault,
    keys::{self, Space},
    lanes,
    leases::{Lease, Leases},
    numbers::Numbers,
    records::{State, StateRecord},
    txn::Txn,
};
use crate::contract::{LeaseToken, Millis, Reason, Settled, Settlement};

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
        let open = leases.extend(token, expires);
        return Ok((if open { Settled::Extended(expires) } else { Settled::LeaseLost }, None));
    }
    let Some(lease) = leases.end(token) else { return Ok((Settled::LeaseLost, None)) };
    match settlement {
        Settlement::Retry { delay, reason } => {
            let due = (!delay.is_zero()).then(|| after(now, delay));
            if let Some(due) = due {
                let first_due = &mut leases.queue(lease.queue).first_due;
                *first_due = Some(first_due.map_or(due, |first| first.min(due)));
            }
            give_back(txn, numbers, &lease, due, reason);
        }
        Settlement::Reject { reason } => {
            let state = StateRecord::new(State::Dead, lease.attempt, Some(reason));
            txn.set_state(lease.action, state.encode_to_vec());
            txn.put(Space::Dead, &keys::dead(lease.action), Vec::new());
            lanes::remove_head(txn, numbers, &lease)?;
        }
        Settlement::Ack { .. } | Settlement::Defer { .. } | Settlement::Extend(_) => {
            let reason = last_reason(txn, &lease)?;
            let state = StateRecord::new(State::Delivered, lease.attempt, reason);
            txn.set_state(lease.action, state.encode_to_vec());
            lanes::remove_head(txn, numbers, &lease)?;
        }
    }
    Ok((Settled::Done, Some(lease)))
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
    token: LeaseToken,
    lost: Lost,
) -> Option<Lease> {
    let lease = leases.end(token)?;
    give_back(txn, numbers, &lease, None, lost.reason());
    Some(lease)
}

fn give_back(
    txn: &mut Txn<'_>,
    numbers: &mut Numbers,
    lease: &Lease,
    due: Option<Millis>,
    reason: Reason,
) {
    let mut state = StateRecord::new(State::Pending, lease.attempt, Some(reason));
    state.not_before = due;
    txn.set_state(lease.action, state.encode_to_vec());
    lanes::return_head(txn, numbers, lease, due);
}

/// The reason of the attempt before this one, kept to be seen after a success.
fn last_reason(txn: &Txn<'_>, lease: &Lease) -> Result<Option<Reason>, Fault> {
    if lease.attempt == 1 {
        return Ok(None);
    }
    match txn.state(lease.action)? {
        Some(state) => Ok(StateRecord::decode(&*state)?.reason.map(Reason::from)),
        None => Ok(None),
    }
}

fn after(now: Millis, delay: std::time::Duration) -> Millis {
    now.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(Millis::MAX))
}
