//! Settlements: from the wire to the store and back. One that is wrong does not touch the others.

use std::time::Duration;

use prost_types::Timestamp;
use segment_source_proto::queue::v1::{
    self as wire, SettlementResult, settlement::Outcome as WireOutcome, settlement_result::Status,
};
use segment_source_rpc::{Caller, Right};
use segment_source_store::{LeaseToken, Reason, Settled, Settlement, Store};

use super::{
    LONGEST_LEASE, SHORTEST_LEASE,
    delivery::timestamp,
    duration,
    metrics::{Metrics, Outcome},
};

const LONGEST_DELAY: Duration = Duration::from_hours(7 * 24);
const LONGEST_REASON: usize = 1_024;

/// Settles all that can be settled, durably, and says for each what came of it, in order. A lease
/// of a source that the caller may not consume from is answered as one that is over.
pub(super) async fn settle(
    store: &Store,
    metrics: &Metrics,
    caller: &Caller,
    settlements: Vec<wire::Settlement>,
) -> Vec<SettlementResult> {
    let mut good = Vec::with_capacity(settlements.len());
    let mut parsed = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        let token = settlement.token.clone();
        let settlement = match parse(settlement) {
            Ok((token, settlement)) => {
                let may = caller.authorize_hash(Right::Consume, token.source()).is_ok();
                let known = may.then(|| outcome(&settlement));
                good.extend(may.then_some((token, settlement)));
                Ok(known)
            }
            Err(message) => Err(message),
        };
        parsed.push((token, settlement));
    }
    let mut settled = match good.is_empty() {
        true => Ok(Vec::new().into_iter()),
        false => store.settle(good).await.map(Vec::into_iter),
    };
    let results = parsed.into_iter().map(|(token, parsed)| {
        let (status, message, expires, counted) = match (parsed, &mut settled) {
            (Err(message), _) => (Status::Invalid, message, None, Outcome::Invalid),
            (Ok(None), _) => lost(),
            (Ok(Some(_)), Err(error)) => {
                (Status::Unavailable, error.to_string(), None, Outcome::Unavailable)
            }
            (Ok(Some(outcome)), Ok(settled)) => answer(outcome, settled.next()),
        };
        metrics.settled(counted);
        SettlementResult { token, status: status.into(), message, lease_expires: expires }
    });
    results.collect()
}

fn answer(
    outcome: Outcome,
    settled: Option<Settled>,
) -> (Status, String, Option<Timestamp>, Outcome) {
    match settled {
        Some(Settled::Done) => (Status::Settled, String::new(), None, outcome),
        Some(Settled::Extended(until)) => {
            (Status::Settled, String::new(), Some(timestamp(until)), outcome)
        }
        Some(Settled::LeaseLost) | None => lost(),
    }
}

fn lost() -> (Status, String, Option<Timestamp>, Outcome) {
    let message = "this token names no open lease that is yours: it was settled before, or its \
                   time was up and the action goes to another consumer";
    (Status::LeaseLost, message.to_owned(), None, Outcome::LeaseLost)
}

fn outcome(settlement: &Settlement) -> Outcome {
    match settlement {
        Settlement::Ack { .. } => Outcome::Ack,
        Settlement::Retry { .. } | Settlement::Defer { .. } => Outcome::Retry,
        Settlement::Reject { .. } => Outcome::Reject,
        Settlement::Extend(_) => Outcome::Extend,
    }
}

fn parse(settlement: wire::Settlement) -> Result<(LeaseToken, Settlement), String> {
    let token = settlement.token[..].try_into().map(LeaseToken);
    let token =
        token.map_err(|_| "token: must be the 24 bytes of a delivery's token".to_owned())?;
    let settlement = match settlement.outcome {
        Some(WireOutcome::Ack(wire::Ack {})) => Settlement::Ack { answer: String::new() },
        Some(WireOutcome::Retry(retry)) => Settlement::Retry {
            delay: duration(retry.delay.unwrap_or_default(), Duration::ZERO..=LONGEST_DELAY)
                .map_err(|message| format!("retry.delay: {message}"))?,
            reason: reason("retry", retry.reason),
        },
        Some(WireOutcome::Reject(reject)) => {
            Settlement::Reject { reason: reason("rejected", reject.reason) }
        }
        Some(WireOutcome::Extend(extend)) => Settlement::Extend(
            duration(extend.lease.unwrap_or_default(), SHORTEST_LEASE..=LONGEST_LEASE)
                .map_err(|message| format!("extend.lease: {message}"))?,
        ),
        None => return Err("outcome: give one of ack, retry, reject and extend".to_owned()),
    };
    Ok((token, settlement))
}

fn reason(code: &str, mut message: String) -> Reason {
    message.truncate(message.floor_char_boundary(LONGEST_REASON));
    Reason { code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use segment_source_proto::queue::v1::{self as wire, settlement::Outcome};
    use segment_source_store::{LeaseToken, Reason, Settlement};

    use super::parse;

    fn check(token: &[u8], outcome: Option<Outcome>, expected: Result<Settlement, &str>) {
        let token = token.to_vec().into();
        let result = parse(wire::Settlement { token, outcome }).map(|(token, settlement)| {
            assert_eq!(token, LeaseToken([7; 24]));
            settlement
        });
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    #[test]
    fn settlements_are_checked_one_by_one() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let retry = |seconds_| {
            Some(Outcome::Retry(wire::Retry { delay: seconds(seconds_), reason: "later".into() }))
        };
        let extend = |s| Some(Outcome::Extend(wire::Extend { lease: seconds(s) }));
        let reason =
            |code: &str, message: &str| Reason { code: code.into(), message: message.into() };
        let token = [7; 24];

        check(
            &token,
            Some(Outcome::Ack(wire::Ack {})),
            Ok(Settlement::Ack { answer: String::new() }),
        );
        check(
            &token,
            retry(5),
            Ok(Settlement::Retry {
                delay: Duration::from_secs(5),
                reason: reason("retry", "later"),
            }),
        );
        check(&token, retry(-1), Err("retry.delay: must be 0 to 604800 seconds"));
        check(&token, retry(604_801), Err("retry.delay: must be 0 to 604800 seconds"));
        check(&token, extend(60), Ok(Settlement::Extend(Duration::from_mins(1))));
        check(&token, extend(0), Err("extend.lease: must be 1 to 43200 seconds"));
        check(
            &token,
            Some(Outcome::Reject(wire::Reject { reason: "é".repeat(1_000) })),
            Ok(Settlement::Reject { reason: reason("rejected", &"é".repeat(512)) }),
        );
        check(&token, None, Err("outcome: give one of ack, retry, reject and extend"));
        check(
            &[7; 16],
            Some(Outcome::Ack(wire::Ack {})),
            Err("token: must be the 24 bytes of a delivery's token"),
        );
    }
}
