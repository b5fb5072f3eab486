//! Records against the rule as it is said: all writes in the order of their stamps.

use indexmap::IndexMap;
use proptest::prelude::*;

use super::super::{Effect, Record, Stamp};
use crate::{
    event::{ActionId, EventId},
    json::{Value, read},
    source::SourceHash,
};

#[derive(Clone, Debug)]
enum Write {
    Set(IndexMap<String, Value>),
    Delete,
}

fn stamp(at: u64) -> Stamp {
    let event = EventId { millis: at, sequence: 0, source: SourceHash([1; 8]) };
    Stamp::of("", ActionId { event, run: 0, index: 0 })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..5_u32).prop_map(|number| Value::Number(number.to_string().into())),
        Just(Value::Array(vec![Value::Bool(true)])),
        Just(Value::Object(IndexMap::new())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::hash_map("[abc]", inner, 1..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

fn properties() -> impl Strategy<Value = IndexMap<String, Value>> {
    prop::collection::hash_map("[abc]", value(), 0..3).prop_map(|map| map.into_iter().collect())
}

fn writes() -> impl Strategy<Value = Vec<(Stamp, Write)>> {
    let write = prop_oneof![6 => properties().prop_map(Write::Set), 1 => Just(Write::Delete)];
    prop::collection::vec(write, 0..9).prop_map(|all| (1..).map(stamp).zip(all).collect::<Vec<_>>())
}

fn apply(record: &mut Record, (stamp, write): &(Stamp, Write)) -> Effect {
    match write {
        Write::Set(properties) => record.set(*stamp, properties),
        Write::Delete => record.delete(*stamp),
    }
}

fn applied(writes: &[(Stamp, Write)]) -> Record {
    let mut record = Record::default();
    for write in writes {
        let before = record.clone();
        let effect = apply(&mut record, write);
        assert_eq!(effect.changed, record != before, "{write:?} on {before:?}");
    }
    record
}

/// The rule, as simple as it can be said.
fn rule(writes: &[(Stamp, Write)]) -> Option<Value> {
    fn merge(known: &mut Value, value: &Value) {
        match (known, value) {
            (Value::Object(known), Value::Object(value)) => {
                for (key, value) in value {
                    let empty = Value::Object(IndexMap::new());
                    match value {
                        Value::Object(_) => {
                            let known = known.entry(key.clone()).or_insert(empty.clone());
                            if !matches!(known, Value::Object(_)) {
                                *known = empty;
                            }
                            merge(known, value);
                        }
                        _ => {
                            known.insert(key.clone(), value.clone());
                        }
                    }
                }
            }
            (known, value) => *known = value.clone(),
        }
    }
    let mut known = None;
    for (_, write) in writes {
        match write {
            Write::Delete => known = None,
            Write::Set(map) => {
                let known = known.get_or_insert_with(|| Value::Object(IndexMap::new()));
                merge(known, &Value::Object(map.clone()));
            }
        }
    }
    known
}

fn sort(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut map: Vec<_> = map.iter().map(|(key, it)| (key.clone(), sort(it))).collect();
            map.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(map.into_iter().collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_the_order_the_record_is_what_the_rule_makes(
        (writes, shuffled) in writes().prop_flat_map(|writes| {
            (Just(writes.clone()), Just(writes).prop_shuffle())
        }),
    ) {
        let record = applied(&shuffled);
        prop_assert_eq!(&record, &applied(&writes), "another order, another record");
        let known = record.exists().then(|| record.properties().to_string());
        let expected = rule(&writes).map(|value| sort(&value).to_string());
        prop_assert_eq!(known, expected);
    }

    #[test]
    fn applying_again_changes_nothing(
        (writes, again) in writes().prop_flat_map(|writes| {
            let len = writes.len();
            (Just(writes).prop_shuffle(), prop::collection::vec(0..len.max(1), 0..5))
        }),
    ) {
        let mut record = applied(&writes);
        let before = record.clone();
        for at in again {
            if let Some(write) = writes.get(at) {
                prop_assert!(!apply(&mut record, write).changed);
            }
        }
        prop_assert_eq!(record, before);
    }

    #[test]
    fn a_record_survives_bytes(writes in writes().prop_shuffle()) {
        let record = applied(&writes);
        let bytes = record.to_bytes();
        prop_assert_eq!(Record::from_bytes(&bytes), Ok(record.clone()));
        prop_assert_eq!(record.size(), record.properties().to_string().len());
        if let Some(cut) = bytes.len().checked_sub(1) {
            // May be read, or not, but never as what it was.
            prop_assert_ne!(Record::from_bytes(&bytes[..cut]), Ok(record));
        }
    }

    #[test]
    fn nothing_is_left_out_unsaid(writes in writes().prop_shuffle(), properties in properties()) {
        let mut record = applied(&writes);
        // As old as nothing else: what is left out is what does not show afterwards.
        let alone = applied(&[(stamp(0), Write::Set(properties.clone()))]);
        let before = record.properties().to_string();
        let effect = record.set(stamp(0), &properties);
        if effect.outdated == 0 && !effect.overruled {
            let known = record.properties();
            prop_assert!(shows(&known, &alone.properties()), "{} in {}", alone.properties(), known);
        }
        if effect.values > 0 && effect.outdated == effect.values {
            prop_assert_eq!(record.properties().to_string(), before);
        }
    }
}

/// Whether every value of `part` shows in `all`.
fn shows(all: &Value, part: &Value) -> bool {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            part.iter().all(|(key, part)| all.get(key).is_some_and(|all| shows(all, part)))
        }
        (all, part) => all == part,
    }
}

fn object(json: &str) -> IndexMap<String, Value> {
    match read(json.as_bytes()).unwrap() {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

#[test]
fn merging_is_by_key_at_every_depth_and_says_what_it_left_out() {
    let (mut record, mut newest) = (Record::default(), 0);
    let mut step = |at: u64, json: &str, expected: &str| {
        let effect = record.set(stamp(at), &object(json));
        assert_eq!(record.properties().to_string(), expected, "after {json} at {at}");
        newest = newest.max(at);
        assert_eq!(record.updated(), Some(stamp(newest)));
        (effect.values, effect.outdated)
    };
    let first = r#"{"plan":"pro","address":{"zip":"1","city":"Rome"},"tags":[1,2]}"#;
    let shown = r#"{"address":{"city":"Rome","zip":"1"},"plan":"pro","tags":[1,2]}"#;
    assert_eq!(step(10, first, shown), (4, 0));
    let shown = r#"{"address":{"city":"Rome","street":"x","zip":"1"},"plan":"pro","tags":[1,2]}"#;
    assert_eq!(step(5, r#"{"plan":"free","address":{"street":"x","zip":"0"}}"#, shown), (3, 2));
    let shown = r#"{"address":null,"plan":"pro","tags":[{"a":1,"b":12345678901234567890}]}"#;
    let json = r#"{"address":null,"tags":[{"b":12345678901234567890,"a":1}]}"#;
    assert_eq!(step(20, json, shown), (2, 0));
    assert_eq!(step(15, r#"{"address":{"zip":"2"}}"#, shown), (1, 1));
}

#[test]
fn what_was_deleted_does_not_come_back_with_what_is_older() {
    let mut record = Record::default();
    assert!(record.set(stamp(10), &object(r#"{"a":1}"#)).changed);
    assert!(!record.delete(stamp(20)).overruled);
    assert!(!record.exists());
    let late = record.set(stamp(15), &object(r#"{"b":2}"#));
    assert_eq!(late, Effect { changed: false, values: 1, outdated: 1, overruled: true });
    assert!(!record.exists());
    assert!(record.set(stamp(30), &object(r#"{"c":3}"#)).changed);
    assert_eq!(record.properties().to_string(), r#"{"c":3}"#);
    let late = record.delete(stamp(25));
    assert!(late.overruled && late.changed && record.exists());
    assert_eq!(record.properties().to_string(), r#"{"c":3}"#);
}

#[test]
fn an_entry_without_properties_is_one() {
    let mut record = Record::default();
    assert!(!record.exists());
    assert!(record.set(stamp(1), &IndexMap::new()).changed);
    assert!(record.exists());
    assert_eq!(record.properties().to_string(), "{}");
}

#[test]
fn deep_properties_survive_bytes() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(127), "}".repeat(127));
    let mut record = Record::default();
    record.set(stamp(1), &object(&deep));
    assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record.clone()));
    assert_eq!(record.properties().to_string(), deep);
    assert!(Record::from_bytes(b"\xff").is_err());
}
