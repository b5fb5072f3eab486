//! How many calls a second each of Knock's limits allows: Knock's own numbers, and how whoever runs
//! the program changes them. When a call may be made is `delivery/pacer`'s.

use std::{num::NonZeroU32, str::FromStr};

use super::Tier;

/// More than anybody has.
const MOST: u32 = 100_000;

/// Calls a second with one credential, of each tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnockRates {
    two: Option<NonZeroU32>,
    three: Option<NonZeroU32>,
    five: Option<NonZeroU32>,
}

/// Another rate for one tier, written `TIER=PER_SECOND`, such as `3=30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnockRate {
    tier: Tier,
    per_second: NonZeroU32,
}

/// Text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKnockRate {
    /// Of another form.
    #[error("`{0}` is not TIER=PER_SECOND, such as 3=30")]
    Form(String),
    /// No such tier, or one of which no call is made.
    #[error(
        "`{0}` is no tier of calls that are made; there are 2 (deleting users and tenants), 3 (all \
         other changes of data) and 5 (triggering and cancelling workflows)"
    )]
    Tier(String),
    /// No number, or one out of range.
    #[error("`{0}` is no number of calls a second, which is whole and from 1 to {MOST}")]
    PerSecond(String),
}

impl KnockRates {
    /// Of a tier.
    pub(crate) fn per_second(self, tier: Tier) -> u32 {
        let given = match tier {
            Tier::Two => self.two,
            Tier::Three => self.three,
            Tier::Five => self.five,
        };
        given.map_or(tier.per_second(), NonZeroU32::get)
    }
}

/// Knock's own, but for what is given; of several for one tier the last one.
impl FromIterator<KnockRate> for KnockRates {
    fn from_iter<I: IntoIterator<Item = KnockRate>>(given: I) -> Self {
        let mut rates = Self::default();
        for KnockRate { tier, per_second } in given {
            let rate = match tier {
                Tier::Two => &mut rates.two,
                Tier::Three => &mut rates.three,
                Tier::Five => &mut rates.five,
            };
            *rate = Some(per_second);
        }
        rates
    }
}

impl FromStr for KnockRate {
    type Err = InvalidKnockRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=');
        let (tier, rate) = parts.ok_or_else(|| InvalidKnockRate::Form(text.to_owned()))?;
        let tier = match tier.trim() {
            "2" => Tier::Two,
            "3" => Tier::Three,
            "5" => Tier::Five,
            other => return Err(InvalidKnockRate::Tier(other.to_owned())),
        };
        let per_second = rate.trim().parse().ok().filter(|rate: &NonZeroU32| rate.get() <= MOST);
        let per_second =
            per_second.ok_or_else(|| InvalidKnockRate::PerSecond(rate.trim().to_owned()))?;
        Ok(Self { tier, per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::{KnockRate, KnockRates, Tier};

    #[test]
    fn without_a_word_they_are_knocks_own() {
        let rates = KnockRates::default();
        let all = [Tier::Two, Tier::Three, Tier::Five].map(|tier| rates.per_second(tier));
        assert_eq!(all, [5, 60, 1_000]);
    }

    #[test]
    fn what_is_given_changes_its_tier_only() {
        let given = ["3=30", "5=2000", " 3 = 7 "].map(|text| text.parse::<KnockRate>().unwrap());
        let rates: KnockRates = given.into_iter().collect();
        let all = [Tier::Two, Tier::Three, Tier::Five].map(|tier| rates.per_second(tier));
        assert_eq!(all, [5, 7, 2_000]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("3", "`3` is not TIER=PER_SECOND"),
            ("", "is not TIER=PER_SECOND"),
            ("4=200", "`4` is no tier of calls that are made; there are 2"),
            ("three=30", "`three` is no tier"),
            ("3=0", "`0` is no number of calls a second"),
            ("3=-1", "`-1` is no number"),
            ("3=1.5", "from 1 to 100000"),
            ("3=100001", "`100001`"),
            ("3=", "`` is no number"),
        ] {
            let error = text.parse::<KnockRate>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
