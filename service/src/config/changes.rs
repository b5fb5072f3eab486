//! What differs between two states of all sources, found by a walk over both that compares no
//! contents: what is unchanged is shared between them.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use segment_source_core::source::SourceId;

use super::State;

/// Every source that is another one in `after` than in `before`, with what it is now; `None`: it is
/// not there any more.
pub(crate) fn changes<'a>(
    before: &'a BTreeMap<SourceId, State>,
    after: &'a BTreeMap<SourceId, State>,
) -> Vec<(&'a SourceId, Option<&'a State>)> {
    let mut found = Vec::new();
    let mut old = before.iter().peekable();
    for (id, state) in after {
        let mut known = None;
        while let Some((earlier, was)) = old.peek().copied() {
            match earlier.cmp(id) {
                Ordering::Less => found.push((earlier, None)),
                Ordering::Equal => known = Some(was),
                Ordering::Greater => break,
            }
            old.next();
        }
        if !known.is_some_and(|was| same(was, state)) {
            found.push((id, Some(state)));
        }
    }
    found.extend(old.map(|(id, _)| (id, None)));
    found
}

fn same(one: &State, other: &State) -> bool {
    match (one, other) {
        (State::Loaded(one), State::Loaded(other)) => Arc::ptr_eq(one, other),
        (State::NotLoaded { reason }, State::NotLoaded { reason: other }) => reason == other,
        (State::RecentlyRemoved, State::RecentlyRemoved) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use segment_source_core::source::SourceId;

    use super::{State, changes};

    #[test]
    fn changes_are_found_wherever_they_are() {
        let shared = State::Loaded(Arc::default());
        let broken = |reason: &str| State::NotLoaded { reason: reason.into() };
        let sources = |list: &[(&str, &State)]| -> BTreeMap<SourceId, State> {
            let named = list.iter().map(|(id, state)| (id.parse().unwrap(), (*state).clone()));
            named.collect()
        };
        let before = sources(&[
            ("a/gone", &shared),
            ("a/kept", &shared),
            ("a/made-anew", &State::Loaded(Arc::default())),
            ("a/removed", &shared),
            ("a/same-reason", &broken("x")),
            ("a/still-removed", &State::RecentlyRemoved),
            ("b/gone", &shared),
            ("b/gone-too", &shared),
        ]);
        let after = sources(&[
            ("a/first", &shared),
            ("a/kept", &shared),
            ("a/made-anew", &shared),
            ("a/removed", &State::RecentlyRemoved),
            ("a/same-reason", &broken("x")),
            ("a/still-removed", &State::RecentlyRemoved),
            ("b/another", &broken("y")),
        ]);
        let found: Vec<(&str, bool)> = changes(&before, &after)
            .into_iter()
            .map(|(id, state)| (id.as_str(), state.is_some()))
            .collect();
        let expected = [
            ("a/first", true),
            ("a/gone", false),
            ("a/made-anew", true),
            ("a/removed", true),
            ("b/another", true),
            ("b/gone", false),
            ("b/gone-too", false),
        ];
        assert_eq!(found, expected);
        assert_eq!(changes(&after, &after), []);
    }
}
