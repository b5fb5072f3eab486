//! The pace of calls that a credential may make, shared by all destinations with that credential.
//! It gives out turns: whoever asks is told when to call, and waits elsewhere, in the store. So what
//! has to wait holds up nothing else, and waits once. Pure: it is told the time.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Credential, KnockRates, knock::Tier};

/// All paces.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    rates: KnockRates,
    paces: Mutex<HashMap<(Credential, Tier), Pace>>,
}

/// Calls that are to be made one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls<'a> {
    pub(super) who: &'a Credential,
    pub(super) tier: Tier,
    pub(super) count: u32,
}

/// Of one limit. Nine tenths of the calls come evenly, a tenth may come together: so there are never
/// more than the limit in any second, as long as turns are kept.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// When everyone who was given a turn has had it.
    taken_to: Instant,
    /// When the calls that were made would be over, had they come evenly.
    made_to: Instant,
    /// Nobody calls before.
    paused_to: Instant,
}

/// Turns are given so far ahead. Whoever has none asks again later, so that one destination that
/// has much to call does not put off the others with its credential by more than that.
pub(super) const HORIZON: Duration = Duration::from_secs(10);

impl Pacer {
    /// One for these limits.
    pub(super) fn new(rates: KnockRates) -> Self {
        Self { rates, paces: Mutex::default() }
    }

    /// A turn, at the earliest now; `None`: all up to the horizon are taken.
    pub(super) fn turn(&self, calls: Calls<'_>, now: Instant) -> Option<Instant> {
        let (time, together) = (self.time(calls), self.together(calls.tier));
        self.with(calls, now, |pace| {
            let turn = pace.taken_to.max(pace.paused_to);
            if turn > pace.paused_to.max(now) + HORIZON {
                return None;
            }
            pace.taken_to = turn.max(now) + time;
            // Whoever has not called for a while has saved up a little.
            let turn = turn.checked_sub(together).unwrap_or(turn).max(pace.paused_to);
            Some(turn.max(now))
        })
    }

    /// Begins the calls of a turn that has come; that is refused during a pause, and to one that is
    /// later than [`LATE`] while there is no room: what was held up for long must not come at once.
    pub(super) fn begin(&self, calls: Calls<'_>, turn: Instant, now: Instant) -> bool {
        let (time, together) = (self.time(calls), self.together(calls.tier));
        self.with(calls, now, |pace| {
            let room = pace.made_to <= now + together;
            let begins = pace.paused_to <= now && (room || now <= turn + LATE);
            if begins {
                pace.made_to = pace.made_to.max(now) + time;
            }
            begins
        })
    }

    /// How long these calls last when they come evenly.
    pub(super) fn time(&self, calls: Calls<'_>) -> Duration {
        self.apart(calls.tier) * calls.count
    }

    fn apart(&self, tier: Tier) -> Duration {
        // Rounded up, so that not one more fits in.
        Duration::from_secs(10) / (self.rates.per_second(tier) * 9) + Duration::from_nanos(1)
    }

    fn together(&self, tier: Tier) -> Duration {
        self.apart(tier) * (self.rates.per_second(tier) / 10)
    }

    /// Nobody calls for this long: the other side asks for it.
    pub(super) fn pause(&self, who: &Credential, tier: Tier, wait: Duration, now: Instant) {
        let calls = Calls { who, tier, count: 1 };
        self.with(calls, now, |pace| pace.paused_to = pace.paused_to.max(now + wait));
    }

    fn with<T>(&self, calls: Calls<'_>, now: Instant, change: impl FnOnce(&mut Pace) -> T) -> T {
        // What a panic left is still a pace.
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Pace { taken_to: now, made_to: now, paused_to: now };
        change(paces.entry((calls.who.clone(), calls.tier)).or_insert(fresh))
    }
}

/// A turn is kept when its action comes no later: the store may be busy for a moment.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Calls, HORIZON, Pacer, Tier};
    use crate::{Credential, KnockRate};

    const SECOND: Duration = Duration::from_secs(1);

    fn calls(who: &Credential, tier: Tier) -> Calls<'_> {
        Calls { who, tier, count: 1 }
    }

    #[test]
    fn no_second_has_more_calls_than_the_limit() {
        let (pacer, key, start) = (Pacer::default(), Credential::new("a"), Instant::now());
        let turns = std::iter::from_fn(|| pacer.turn(calls(&key, Tier::Three), start));
        let turns: Vec<Duration> = turns.map(|turn| turn - start).collect();
        assert!(turns.is_sorted());
        for (index, turn) in turns.iter().enumerate() {
            let in_second = turns[index..].iter().take_while(|it| **it < *turn + SECOND).count();
            assert!(in_second <= 60, "{in_second} from {turn:?}");
        }
        // And they are used: 54 a second, up to the horizon.
        assert!((535..=545).contains(&turns.len()), "{}", turns.len());
        assert!(turns[turns.len() - 1] <= HORIZON);
        assert!(pacer.turn(calls(&key, Tier::Three), start + SECOND).is_some());
    }

    #[test]
    fn the_limits_are_those_that_were_given() {
        let rates = ["2=1", "5=100000"].map(|rate| rate.parse::<KnockRate>().unwrap());
        let (pacer, now) = (Pacer::new(rates.into_iter().collect()), Instant::now());
        let key = Credential::new("a");
        let turn = |tier| pacer.turn(calls(&key, tier), now).unwrap();
        assert_eq!(turn(Tier::Two), now);
        assert!(turn(Tier::Two) > now + SECOND);
        let turns: Vec<Duration> = (0..100_000).map(|_| turn(Tier::Five) - now).collect();
        // A tenth at once, the others at 90,000 a second.
        assert!((0.95..1.05).contains(&turns[99_999].as_secs_f64()), "{:?}", turns[99_999]);
    }

    #[test]
    fn every_credential_and_tier_has_its_own() {
        let (pacer, now) = (Pacer::default(), Instant::now());
        let turn = |key: &str, tier, count| {
            pacer.turn(Calls { who: &Credential::new(key), tier, count }, now).unwrap()
        };
        assert_eq!(turn("a", Tier::Two, 40), now);
        assert!(turn("a", Tier::Two, 1) > now + SECOND);
        assert_eq!(turn("b", Tier::Two, 1), now);
        assert_eq!(turn("a", Tier::Five, 1), now);
    }

    #[test]
    fn a_pause_is_for_all_of_a_limit() {
        let (pacer, key, now) = (Pacer::default(), Credential::new("a"), Instant::now());
        let (five, three) = (calls(&key, Tier::Five), calls(&key, Tier::Three));
        let turn = pacer.turn(five, now).unwrap();
        pacer.pause(&key, Tier::Five, SECOND * 20, now);
        pacer.pause(&key, Tier::Five, SECOND, now);
        assert!(!pacer.begin(five, turn, now));
        assert_eq!(pacer.turn(five, now), Some(now + SECOND * 20));
        assert_eq!(pacer.turn(three, now), Some(now));
        assert!(pacer.begin(three, now, now));
        assert!(pacer.begin(five, now + SECOND * 20, now + SECOND * 20));
    }

    #[test]
    fn what_was_held_up_for_long_does_not_come_at_once() {
        let (pacer, key, start) = (Pacer::default(), Credential::new("a"), Instant::now());
        let (three, hour) = (calls(&key, Tier::Three), Duration::from_hours(1));
        let turns: Vec<_> = std::iter::from_fn(|| pacer.turn(three, start)).collect();
        let begin = |now| turns.iter().filter(|turn| pacer.begin(three, **turn, now)).count();
        assert_eq!(begin(start + hour), 7, "a tenth of the limit, and one");
        assert_eq!(begin(start + hour + SECOND), 7);
    }
}
