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

/// Of one limit. Nine tenths of the calls come evenly, a tenth may come together: so there are never
/// more than the limit in any second.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// When everyone who was given a turn has had it.
    taken_to: Instant,
    /// Nobody calls before.
    paused_to: Instant,
}

impl Pacer {
    /// One for these limits.
    pub(super) fn new(rates: KnockRates) -> Self {
        Self { rates, paces: Mutex::default() }
    }

    /// A turn for so many calls; at the earliest now.
    pub(super) fn turn(&self, who: &Credential, tier: Tier, calls: u32, now: Instant) -> Instant {
        let limit = self.rates.per_second(tier);
        // Rounded up, so that not one more fits in.
        let apart = Duration::from_secs(10) / (limit * 9) + Duration::from_nanos(1);
        let together = apart * (limit / 10);
        self.with(who, tier, now, |pace| {
            let turn = pace.taken_to.max(pace.paused_to);
            pace.taken_to = turn.max(now) + apart * calls;
            // Whoever has not called for a while has saved up a little.
            let turn = turn.checked_sub(together).unwrap_or(turn).max(pace.paused_to);
            turn.max(now)
        })
    }

    /// Nobody calls for this long: the other side asks for it.
    pub(super) fn pause(&self, who: &Credential, tier: Tier, wait: Duration, now: Instant) {
        self.with(who, tier, now, |pace| pace.paused_to = pace.paused_to.max(now + wait));
    }

    /// Until when nobody calls.
    pub(super) fn paused_to(&self, who: &Credential, tier: Tier, now: Instant) -> Instant {
        self.with(who, tier, now, |pace| pace.paused_to)
    }

    fn with<T>(
        &self,
        who: &Credential,
        tier: Tier,
        now: Instant,
        change: impl FnOnce(&mut Pace) -> T,
    ) -> T {
        // What a panic left is still a pace.
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Pace { taken_to: now, paused_to: now };
        change(paces.entry((who.clone(), tier)).or_insert(fresh))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Pacer, Tier};
    use crate::{Credential, KnockRate};

    #[test]
    fn no_second_has_more_calls_than_the_limit() {
        let (pacer, key, start) = (Pacer::default(), Credential::new("a"), Instant::now());
        let turns: Vec<Duration> =
            (0..600).map(|_| pacer.turn(&key, Tier::Three, 1, start) - start).collect();
        assert!(turns.is_sorted());
        for (index, turn) in turns.iter().enumerate() {
            let in_second = turns[index..].iter().take_while(|it| **it < *turn + SECOND).count();
            assert!(in_second <= 60, "{in_second} from {turn:?}");
        }
        // And they are used: 600 calls at 54 a second.
        assert!((10.9..11.2).contains(&turns[599].as_secs_f64()), "{:?}", turns[599]);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_limits_are_those_that_were_given() {
        let rates = ["2=1", "5=100000"].map(|rate| rate.parse::<KnockRate>().unwrap());
        let (pacer, now) = (Pacer::new(rates.into_iter().collect()), Instant::now());
        let turn = |tier| pacer.turn(&Credential::new("a"), tier, 1, now);
        assert_eq!(turn(Tier::Two), now);
        assert!(turn(Tier::Two) > now + SECOND);
        let turns: Vec<Duration> = (0..100_000).map(|_| turn(Tier::Five) - now).collect();
        // A tenth at once, the others at 90,000 a second.
        assert!((0.95..1.05).contains(&turns[99_999].as_secs_f64()), "{:?}", turns[99_999]);
    }

    #[test]
    fn every_credential_and_tier_has_its_own() {
        let (pacer, now) = (Pacer::default(), Instant::now());
        let turn = |key: &str, tier, calls| pacer.turn(&Credential::new(key), tier, calls, now);
        assert_eq!(turn("a", Tier::Two, 50), now);
        assert!(turn("a", Tier::Two, 1) > now + SECOND);
        assert_eq!(turn("b", Tier::Two, 1), now);
        assert_eq!(turn("a", Tier::Five, 1), now);
    }

    #[test]
    fn a_pause_is_for_all_of_a_limit() {
        let (pacer, key, now) = (Pacer::default(), Credential::new("a"), Instant::now());
        pacer.pause(&key, Tier::Five, SECOND * 5, now);
        pacer.pause(&key, Tier::Five, SECOND, now);
        assert_eq!(pacer.paused_to(&key, Tier::Five, now), now + SECOND * 5);
        assert_eq!(pacer.turn(&key, Tier::Five, 1, now), now + SECOND * 5);
        assert_eq!(pacer.turn(&key, Tier::Three, 1, now), now);
    }
}
