//! Which actions of a destination wait for their turn, and until when. Whether calls may be made is
//! the pacer's; waiting is done in the store. Pure: it is told the time.

use std::{collections::HashMap, time::Duration};

use segment_source_core::event::ActionId;
use tokio::time::Instant;

use super::pacer::{Calls, HORIZON, Pacer};
use crate::knock::Tier;

/// A turn that comes this soon has come: timers of store and engine are not that exact.
const SOON: Duration = Duration::from_millis(5);

/// More turns than this are looked through for those that nobody came for.
const MANY: usize = 32_768;

/// Nobody comes any more for a turn that was so long ago: its action was expired or erased.
const FORGOTTEN: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(super) struct Turns {
    given: HashMap<ActionId, Instant>,
    /// Behind the horizon there are no turns, but actions come back one after the other, too: when
    /// those that were sent away would be through, had they the limit for themselves.
    line: HashMap<Tier, Instant>,
}

impl Turns {
    /// How long an action has to wait before it may make its calls; `None`: it begins.
    pub(super) fn wait(
        &mut self,
        pacer: &Pacer,
        action: ActionId,
        calls: Calls<'_>,
        now: Instant,
    ) -> Option<Duration> {
        let turn = match self.given.remove(&action) {
            Some(turn) if turn > now + SOON => turn,
            Some(turn) if pacer.begin(calls, turn, now) => return None,
            _ => match pacer.turn(calls, now) {
                Some(turn) if turn <= now + SOON && pacer.begin(calls, turn, now) => return None,
                Some(turn) => turn,
                None => return Some(self.later(pacer, calls, now)),
            },
        };
        if self.given.len() >= MANY {
            self.given.retain(|_, turn| *turn + FORGOTTEN > now);
        }
        self.given.insert(action, turn);
        Some(turn.saturating_duration_since(now))
    }

    fn later(&mut self, pacer: &Pacer, calls: Calls<'_>, now: Instant) -> Duration {
        let line = self.line.entry(calls.tier).or_insert(now);
        let back = (*line).max(now + HORIZON);
        *line = back + pacer.time(calls);
        back - now
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cmp::Reverse,
        collections::{BinaryHeap, VecDeque},
        time::Duration,
    };

    use segment_source_core::{
        event::{ActionId, EventId},
        source::SourceHash,
    };
    use tokio::time::Instant;

    use super::{Calls, Pacer, Tier, Turns};
    use crate::Credential;

    const SECOND: Duration = Duration::from_secs(1);

    fn action(sequence: u16) -> ActionId {
        let event = EventId { millis: 1, sequence, source: SourceHash([0; 8]) };
        ActionId { event, run: 0, index: 0 }
    }

    /// Lets `count` actions wait, each coming back by `late(n)` later than it was told, and gives when
    /// each began and how often all were sent away.
    fn run(count: u16, late: impl Fn(usize) -> Duration) -> (Vec<Duration>, usize) {
        let (pacer, key, start) = (Pacer::default(), Credential::new("a"), Instant::now());
        let calls = Calls { who: &key, tier: Tier::Three, count: 1 };
        let (mut turns, mut began, mut sent_away) = (Turns::default(), Vec::new(), 0);
        let mut waiting: BinaryHeap<_> = (0..count).map(|n| Reverse((start, n))).collect();
        while let Some(Reverse((now, n))) = waiting.pop() {
            match turns.wait(&pacer, action(n), calls, now) {
                None => began.push(now - start),
                Some(wait) => {
                    sent_away += 1;
                    waiting.push(Reverse((now + wait + late(sent_away), n)));
                }
            }
        }
        (began, sent_away)
    }

    fn most_in_a_second(began: &[Duration]) -> usize {
        let (mut window, mut most) = (VecDeque::new(), 0);
        for at in began {
            window.push_back(*at);
            while window.front().is_some_and(|first| *first + SECOND <= *at) {
                window.pop_front();
            }
            most = most.max(window.len());
        }
        most
    }

    #[test]
    fn each_waits_once_and_the_limit_is_used() {
        let (began, sent_away) = run(500, |_| Duration::ZERO);
        assert_eq!(began.len(), 500);
        assert!(most_in_a_second(&began) <= 60, "{}", most_in_a_second(&began));
        assert!(began[499] < SECOND * 10, "{:?}", began[499]);
        assert!(sent_away <= 500, "{sent_away}");
    }

    #[test]
    fn a_store_that_is_slow_costs_no_turns() {
        // Anything up to a third of a second, as when the disk is busy.
        let (began, sent_away) = run(500, |n| Duration::from_millis((n as u64 * 97) % 333));
        assert!(began[499] < SECOND * 11, "{:?}", began[499]);
        assert!(sent_away <= 500, "{sent_away}");
        // It cannot be seen beforehand, so a second may have those of before with its own.
        assert!(most_in_a_second(&began) <= 60 + 20, "{}", most_in_a_second(&began));
    }

    #[test]
    fn however_late_they_come_they_get_on() {
        let (began, sent_away) =
            run(500, |n| Duration::from_millis(2_000 + (n as u64 * 97) % 4_000));
        assert_eq!(began.len(), 500);
        assert!(began[499] < SECOND * 40, "{:?}", began[499]);
        assert!(sent_away <= 2_000, "{sent_away}");
    }

    #[test]
    fn what_is_behind_the_horizon_comes_back_one_after_the_other() {
        let (began, sent_away) = run(5_400, |_| Duration::ZERO);
        assert!(most_in_a_second(&began) <= 60, "{}", most_in_a_second(&began));
        assert!(began[5_399] < SECOND * 120, "{:?}", began[5_399]);
        assert!(sent_away <= 5_400 * 3, "{sent_away}");
    }
}
