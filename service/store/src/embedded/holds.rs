//! What is remembered of a destination: whether it is held, and when it was. What a hold means for
//! deliveries is not known here.

use prost::Message;

use super::{
    fault::Fault,
    keys::{QueueKey, Space},
    txn::Txn,
};
use crate::contract::{Ending, Hold, HoldLedger, Millis};

/// Earlier holds are remembered for longer than any action may wait.
const REMEMBERED: Millis = 8 * 24 * 60 * 60 * 1000;
/// Of these, so many.
const MAX_PAST: usize = 1_000;

#[derive(Clone, PartialEq, Eq, Message)]
struct Ledger {
    #[prost(message, optional, tag = "1")]
    hold: Option<HoldRecord>,
    /// Oldest first.
    #[prost(message, repeated, tag = "2")]
    past: Vec<Interval>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct HoldRecord {
    #[prost(uint64, tag = "1")]
    since: Millis,
    #[prost(uint64, optional, tag = "2")]
    until: Option<Millis>,
    #[prost(bool, tag = "3")]
    refused: bool,
    #[prost(string, tag = "4")]
    reason: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Interval {
    #[prost(uint64, tag = "1")]
    from: Millis,
    #[prost(uint64, tag = "2")]
    until: Millis,
}

/// As it is on disk.
pub(super) fn read(stored: Option<&[u8]>) -> Result<HoldLedger, Fault> {
    let ledger = stored.map(Ledger::decode).transpose()?.unwrap_or_default();
    let hold =
        |HoldRecord { since, until, refused, reason }| Hold { since, until, refused, reason };
    Ok(HoldLedger {
        hold: ledger.hold.map(hold),
        past: ledger.past.into_iter().map(|past| (past.from, past.until)).collect(),
    })
}

/// Where a hold may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Also where another one is, but for one by hand when the destination itself refuses.
    Taken,
    /// Only where none is.
    Free,
}

/// `false`: the hold that there is stays as it is.
pub(super) fn hold(
    txn: &mut Txn<'_>,
    now: Millis,
    queue: QueueKey,
    mut hold: Hold,
    place: Place,
) -> Result<bool, Fault> {
    let mut ledger = read(txn.get(Space::Holds, &queue.0)?.as_deref())?;
    if let Some(old) = ledger.hold.take() {
        let over = old.until.filter(|until| *until <= hold.since.max(now));
        match over {
            Some(until) => end(&mut ledger, now, old.since, until),
            None if place == Place::Free || hold.refused && !old.refused => return Ok(false),
            // It is held all the time.
            None => hold.since = hold.since.min(old.since),
        }
    }
    ledger.hold = Some(hold);
    write(txn, queue, ledger);
    Ok(true)
}

/// The hold that was ended.
pub(super) fn end_hold(
    txn: &mut Txn<'_>,
    now: Millis,
    queue: QueueKey,
    which: &Ending,
) -> Result<Option<Hold>, Fault> {
    let mut ledger = read(txn.get(Space::Holds, &queue.0)?.as_deref())?;
    let ended = ledger.hold.take_if(|hold| match which {
        Ending::Any => true,
        Ending::Over => hold.until.is_some_and(|until| until <= now),
        Ending::Refused => hold.refused,
        Ending::This(this) => hold == this,
    });
    if let Some(hold) = &ended {
        let until = hold.until.map_or(now, |until| until.min(now));
        end(&mut ledger, now, hold.since, until);
        write(txn, queue, ledger);
    }
    Ok(ended)
}

fn end(ledger: &mut HoldLedger, now: Millis, from: Millis, until: Millis) {
    // The clock may have stepped back.
    ledger.past.push((from, until.max(from)));
    ledger.past.retain(|(_, until)| until.saturating_add(REMEMBERED) >= now);
    let beyond = ledger.past.len().saturating_sub(MAX_PAST);
    ledger.past.drain(..beyond);
}

fn write(txn: &mut Txn<'_>, queue: QueueKey, ledger: HoldLedger) {
    let record =
        |Hold { since, until, refused, reason }| HoldRecord { since, until, refused, reason };
    let past = ledger.past.into_iter().map(|(from, until)| Interval { from, until }).collect();
    let ledger = Ledger { hold: ledger.hold.map(record), past };
    txn.put(Space::Holds, &queue.0, ledger.encode_to_vec());
}
