//! What a system must get right before its speed counts: a few requests in which everything that has to
//! be handled comes often.

use std::time::Duration;

use crate::{
    event::{Mix, Wanted},
    trial::{Bench, Load, Trial},
};

const LOAD: Load = Load {
    mix: Mix { identifies: 7, orders: 7, bad: 100, repeats: 100, refused: 50 },
    rate: Some(100.0),
    time: Duration::from_secs(3),
};
/// Slow is not wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// `passed`, or what was wrong.
pub(crate) fn check(bench: &mut Bench<'_>) -> anyhow::Result<String> {
    let mut trial = bench.run(LOAD)?;
    bench.settle(&mut trial, PATIENCE)?;
    let wrong = wrong(bench, &trial);
    Ok(if wrong.is_empty() { "passed".to_owned() } else { wrong.join(", ") })
}

fn wrong(bench: &Bench<'_>, trial: &Trial) -> Vec<String> {
    let mut wrong = Vec::new();
    for (wanted, what) in [
        (Wanted::New, "events were answered 2xx"),
        (Wanted::Repeat, "repeats were answered 2xx"),
        (Wanted::Bad, "bad signatures were answered 401"),
    ] {
        let (right, all) = trial.ledger.answered(wanted);
        if right < all || all == 0 {
            wrong.push(format!("{right} of {all} {what}"));
        }
    }
    let counts = trial.counts;
    for (count, what) in [
        (counts.lost, "events were not delivered"),
        (counts.duplicated, "deliveries were repeated"),
        (counts.mislabelled, "deliveries were wrong"),
        (bench.sink.received().unreadable, "deliveries were about no event"),
    ] {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    if trial.ledger.retried(&bench.sink.received()) == 0 {
        wrong.push("nothing was tried again after a 503".to_owned());
    }
    wrong
}
