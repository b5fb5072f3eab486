//! What is remembered of a destination: whether it is held, and when it was. What a hold means for
//! deliveries is not known here.

use prost::Message;

use crate::{
    contract::{Ending, Hold, HoldLedger, Millis},
    fault::Fault,
};

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

/// What was kept; nothing: the default.
pub(crate) fn read(stored: Option<&[u8]>) -> Result<HoldLedger, Fault> {
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
pub(crate) enum Place {
    /// Also where another one is, but for one by hand when the destination itself refuses.
    Taken,
    /// Only where none is.
    Free,
}

/// What is remembered from now on; `None`: the hold that there is stays as it is.
pub(crate) fn hold(
    mut ledger: HoldLedger,
    now: Millis,
    mut hold: Hold,
    place: Place,
) -> Option<HoldLedger> {
    if let Some(old) = ledger.hold.take() {
        let over = old.until.filter(|until| *until <= hold.since.max(now));
        match over {
            Some(until) => end(&mut ledger, now, old.since, until),
            None if place == Place::Free || hold.refused && !old.refused => return None,
            // It is held all the time.
            None => hold.since = hold.since.min(old.since),
        }
    }
    ledger.hold = Some(hold);
    Some(ledger)
}

/// What is remembered from now on, and the hold that was ended; `None`: there is none that is meant.
pub(crate) fn end_hold(
    mut ledger: HoldLedger,
    now: Millis,
    which: &Ending,
) -> Option<(HoldLedger, Hold)> {
    let hold = ledger.hold.take_if(|hold| match which {
        Ending::Any => true,
        Ending::Over => hold.until.is_some_and(|until| until <= now),
        Ending::Refused => hold.refused,
        Ending::This(this) => hold == this,
    })?;
    let until = hold.until.map_or(now, |until| until.min(now));
    end(&mut ledger, now, hold.since, until);
    Some((ledger, hold))
}

fn end(ledger: &mut HoldLedger, now: Millis, from: Millis, until: Millis) {
    // The clock may have stepped back.
    ledger.past.push((from, until.max(from)));
    ledger.past.retain(|(_, until)| until.saturating_add(REMEMBERED) >= now);
    let beyond = ledger.past.len().saturating_sub(MAX_PAST);
    ledger.past.drain(..beyond);
}

/// As it is kept.
pub(crate) fn to_bytes(ledger: HoldLedger) -> Vec<u8> {
    let record =
        |Hold { since, until, refused, reason }| HoldRecord { since, until, refused, reason };
    let past = ledger.past.into_iter().map(|(from, until)| Interval { from, until }).collect();
    Ledger { hold: ledger.hold.map(record), past }.encode_to_vec()
}
