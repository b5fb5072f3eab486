//! When certificates are made, and by which authority they are signed. Pure: times in seconds
//! since 1970 in, decisions out.
//!
//! An authority is followed by the next after two thirds of its life. Both are trusted from then
//! on, but the next one signs only after an overlap, when everyone has been told to trust it. The
//! old one is dropped when it has run out; no certificate outlives the authority that signed it.

use segment_source_runtime::tls::Roles;

/// Certificates are valid from a little before they are made, for clocks that are behind.
pub(super) const BACKDATED: i64 = 5 * 60;
/// The longest time between an authority being trusted and its signing.
const OVERLAP: i64 = 60 * 60;

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Validity {
    /// Of a certificate that is made now.
    pub(super) fn of(now: i64, lasts: i64) -> Self {
        Self { from: now - BACKDATED, until: now + lasts }
    }

    fn made(self) -> i64 {
        self.from + BACKDATED
    }

    fn lasts(self) -> i64 {
        (self.until - self.made()).max(0)
    }

    /// When the next one is to be made.
    fn followed(self) -> i64 {
        self.made() + self.lasts() * 2 / 3
    }

    /// When an authority may sign.
    fn signs(self) -> i64 {
        self.made() + OVERLAP.min(self.lasts() / 10)
    }
}

/// What is to be known of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// Identifier of its key.
    pub(super) id: Vec<u8>,
    pub(super) validity: Validity,
    /// Whether its key is there.
    pub(super) can_sign: bool,
}

/// What is to be known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Identifier of the authority's key.
    pub(super) issuer: Vec<u8>,
    pub(super) roles: Roles,
    pub(super) validity: Validity,
}

/// What to do about the authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorities {
    /// Those that are still trusted, by their places.
    pub(super) keep: Vec<usize>,
    /// Whether another one is to be made.
    pub(super) make: bool,
}

/// Which authorities stay, and whether there must be another one.
pub(super) fn authorities(now: i64, found: &[Authority]) -> Authorities {
    let valid = |it: &Authority| now < it.validity.until;
    let keep = (0..found.len()).filter(|at| valid(&found[*at])).collect();
    let newest = found.iter().filter(|it| it.can_sign && valid(it));
    let newest = newest.max_by_key(|it| it.validity.from);
    Authorities { keep, make: newest.is_none_or(|it| now >= it.validity.followed()) }
}

/// The authority that signs now: the newest that everyone had the time to hear of.
pub(super) fn signer(now: i64, found: &[Authority]) -> Option<&Authority> {
    let able = || found.iter().filter(|it| it.can_sign && now < it.validity.until);
    let known = able().filter(|it| now >= it.validity.signs());
    known.max_by_key(|it| it.validity.from).or_else(|| able().min_by_key(|it| it.validity.from))
}

/// Whether a certificate is to be made again.
pub(super) fn is_due(now: i64, leaf: &Leaf, roles: &Roles, trusted: &[Authority]) -> bool {
    leaf.roles != *roles
        || now >= leaf.validity.followed()
        || now < leaf.validity.from
        || !trusted.iter().any(|it| it.id == leaf.issuer)
}

/// The validity of a certificate made now.
pub(super) fn leaf_validity(now: i64, lasts: i64, signer: &Authority) -> Validity {
    let validity = Validity::of(now, lasts);
    Validity { until: validity.until.min(signer.validity.until), ..validity }
}

/// When something is to be done next, after now.
pub(super) fn next(now: i64, authorities: &[Authority], leaves: &[Validity]) -> Option<i64> {
    let of_authorities =
        authorities.iter().flat_map(|it| [it.validity.followed(), it.validity.until]);
    let of_leaves = leaves.iter().map(|it| it.followed());
    of_authorities.chain(of_leaves).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use segment_source_runtime::tls::{Role, Roles};

    use super::{
        Authorities, Authority, BACKDATED, Leaf, Validity, authorities, is_due, leaf_validity,
        next, signer,
    };

    const HOUR: i64 = 60 * 60;
    const DAY: i64 = 24 * HOUR;

    fn authority(id: u8, made: i64) -> Authority {
        Authority { id: vec![id], validity: Validity::of(made, 365 * DAY), can_sign: true }
    }

    fn roles() -> Roles {
        [Role::Edge].into_iter().collect()
    }

    #[test]
    fn an_authority_is_followed_after_two_thirds_and_dropped_at_its_end() {
        let check = |now: i64, found: &[Authority], keep: &[usize], make: bool| {
            assert_eq!(authorities(now, found), Authorities { keep: keep.to_vec(), make }, "{now}");
        };
        let (one, two) = (authority(1, 0), authority(2, 244 * DAY));
        check(0, &[], &[], true);
        check(0, std::slice::from_ref(&one), &[0], false);
        check(243 * DAY, std::slice::from_ref(&one), &[0], false);
        check(244 * DAY, std::slice::from_ref(&one), &[0], true);
        check(244 * DAY, &[one.clone(), two.clone()], &[0, 1], false);
        check(365 * DAY, &[one.clone(), two], &[1], false);
        // Without its key it is no use for signing.
        check(0, &[Authority { can_sign: false, ..one }], &[0], true);
    }

    #[test]
    fn an_authority_signs_once_everyone_knows_it() {
        let (one, two) = (authority(1, 0), authority(2, 244 * DAY));
        let check = |now: i64, found: &[Authority], expected: Option<u8>| {
            assert_eq!(signer(now, found).map(|it| it.id[0]), expected, "{now}");
        };
        check(0, &[], None);
        // The first one has nobody to wait for.
        check(0, std::slice::from_ref(&one), Some(1));
        let both = [one, two];
        check(244 * DAY, &both, Some(1));
        check(244 * DAY + HOUR - 1, &both, Some(1));
        check(244 * DAY + HOUR, &both, Some(2));
        check(365 * DAY, &both, Some(2));
        check(999 * DAY, &both, None);
    }

    #[test]
    fn a_certificate_is_made_again_after_two_thirds_or_when_it_is_not_what_is_wanted() {
        let trusted = [authority(1, 0)];
        let leaf = Leaf { issuer: vec![1], roles: roles(), validity: Validity::of(0, 90 * DAY) };
        let check = |now: i64, leaf: &Leaf, expected: bool| {
            assert_eq!(is_due(now, leaf, &roles(), &trusted), expected, "{now} {leaf:?}");
        };
        check(0, &leaf, false);
        check(60 * DAY - 1, &leaf, false);
        check(60 * DAY, &leaf, true);
        check(-BACKDATED - 1, &leaf, true);
        check(0, &Leaf { issuer: vec![2], ..leaf.clone() }, true);
        check(0, &Leaf { roles: Roles::default(), ..leaf }, true);
    }

    #[test]
    fn there_is_nothing_to_do_until_something_is_due() {
        let both = [authority(1, 0), authority(2, 244 * DAY)];
        let leaf = Validity::of(240 * DAY, 90 * DAY);
        let check = |now: i64, expected: Option<i64>| {
            assert_eq!(next(now, &both, &[leaf]), expected, "{now}");
        };
        check(245 * DAY, Some(300 * DAY));
        check(300 * DAY, Some(365 * DAY));
        check(365 * DAY, Some(244 * DAY + 365 * DAY * 2 / 3));
        check(999 * DAY, None);
    }

    /// Whoever reads its Secret a while after it was written must trust everyone else's
    /// certificate, and have a valid one, at any time.
    #[test]
    fn through_many_rotations_everyone_always_trusts_everyone() {
        for (ca_lasts, leaf_lasts, step) in
            [(365 * DAY, 90 * DAY, HOUR / 4), (60, 30, 1), (100, 99, 1), (10 * DAY, 9 * DAY, 600)]
        {
            let mut found: Vec<Authority> = Vec::new();
            let mut leaves: [Option<Leaf>; 2] = [None, None];
            // Authorities that were trusted a moment ago: half of an overlap.
            let behind = (HOUR.min(ca_lasts / 10) / 2).max(1);
            let mut history: Vec<(i64, Vec<Vec<u8>>)> = Vec::new();
            let (mut now, mut made, mut issued) = (0, 0u8, 0);
            while now < 4 * ca_lasts {
                let plan = authorities(now, &found);
                found = plan.keep.iter().map(|at| found[*at].clone()).collect();
                if plan.make {
                    made += 1;
                    let validity = Validity::of(now, ca_lasts);
                    found.push(Authority { id: vec![made], validity, can_sign: true });
                }
                history.push((now, found.iter().map(|it| it.id.clone()).collect()));
                let by = signer(now, &found).unwrap();
                for leaf in &mut leaves {
                    if leaf.as_ref().is_none_or(|it| is_due(now, it, &roles(), &found)) {
                        issued += 1;
                        let validity = leaf_validity(now, leaf_lasts, by);
                        let (issuer, roles) = (by.id.clone(), roles());
                        *leaf = Some(Leaf { issuer, roles, validity });
                    }
                }
                let old = history.iter().rev().find(|(at, _)| *at <= now - behind);
                let bundle = old.map_or(&history[0].1, |(_, bundle)| bundle);
                for leaf in leaves.iter().flatten() {
                    assert!(bundle.contains(&leaf.issuer), "{now}: {leaf:?} {bundle:?}");
                    assert!(now < leaf.validity.until, "{now}: {leaf:?}");
                }
                assert!(found.len() <= 2, "{now}: {found:?}");
                now += step;
            }
            assert!(made >= 5 && issued < 200, "{made} authorities, {issued} certificates");
        }
    }
}
