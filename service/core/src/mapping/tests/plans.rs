//! Which mappings an event meets, and in which order.

use super::{
    ActionType, Decision, Expression, Mapping, Mappings, Outcome, decide, document, failed,
    mapping, rendered,
};

fn minimal(action: ActionType) -> Mapping {
    let fields: Vec<_> = action
        .fields()
        .iter()
        .filter(|spec| spec.required)
        .map(|spec| (spec.name, "userId"))
        .collect();
    mapping(action, &fields)
}

fn named(name: &str, action: ActionType) -> Mapping {
    Mapping { name: name.to_owned(), ..minimal(action) }
}

#[test]
fn actions_run_by_type_and_then_as_given() {
    let mut mappings: Vec<_> = ActionType::ALL.into_iter().rev().map(minimal).collect();
    mappings.insert(0, named("b", ActionType::UsersDelete));
    mappings.push(named("a", ActionType::UsersDelete));
    let mappings = Mappings::new(mappings);
    let names: Vec<_> = mappings.iter().map(|mapping| mapping.name.as_str()).collect();
    let planned = mappings.plan(&document(r#"{"userId":"u"}"#), "e", true, &[]);
    let expected = [
        "users_identify",
        "b",
        "users_delete",
        "a",
        "objects_set",
        "objects_delete",
        "tenants_set",
        "tenants_delete",
        "objects_subscribe",
        "objects_unsubscribe",
        "audiences_add_member",
        "audiences_remove_member",
        "workflows_cancel",
        "workflows_trigger",
    ];
    assert_eq!(names, expected);
    let planned: Vec<_> = planned.iter().map(|outcome| outcome.mapping).collect();
    assert_eq!(planned, expected);
}

#[test]
fn many_copies_of_a_large_event_are_too_large() {
    let copy = |name: &str| Mapping {
        name: name.to_owned(),
        ..mapping(
            ActionType::WorkflowsTrigger,
            &[("workflow", "!\"w\""), ("recipients", "userId"), ("data", "body")],
        )
    };
    let mappings = Mappings::new(vec![
        copy("1"),
        copy("2"),
        copy("3"),
        mapping(ActionType::WorkflowsTrigger, &[("workflow", "!\"w\""), ("recipients", "userId")]),
    ]);
    let body = format!(r#"{{"userId":"u","text":"{}"}}"#, "x".repeat(12 << 20));
    let planned = mappings.plan(&document(&body), "e", true, &[]);
    let code = |outcome: &Outcome<'_>| match &outcome.result {
        Decision::Rendered(_) => "rendered",
        Decision::Failed(failure) => failure.code,
        other => panic!("{other:?}"),
    };
    let codes: Vec<_> = planned.iter().map(code).collect();
    assert_eq!(codes, ["rendered", "rendered", "too_large", "rendered"]);
}

#[test]
fn every_mapping_has_an_outcome() {
    let when = |text| Some(Expression::compile(text).unwrap());
    let delete = || minimal(ActionType::UsersDelete);
    let mappings = Mappings::new(vec![
        Mapping { destination: "crm".to_owned(), ..named("1", ActionType::UsersDelete) },
        Mapping { name: "2".to_owned(), event_type: "E".to_owned(), ..delete() },
        Mapping { name: "3".to_owned(), disabled: true, ..delete() },
        Mapping { name: "4".to_owned(), when: when("body.plan == 'pro'"), ..delete() },
        Mapping { name: "5".to_owned(), when: when("body.plan == 'free'"), ..delete() },
        Mapping { name: "6".to_owned(), when: when("body.x.y == 1"), ..delete() },
        mapping(ActionType::TenantsDelete, &[("id", "groupId")]),
    ]);
    let planned = mappings.plan(&document(r#"{"userId":"u","plan":"pro"}"#), "e", true, &[]);
    let outcome = |mapping, destination, result| Outcome {
        mapping,
        action_type: ActionType::UsersDelete,
        destination,
        result,
    };
    let not_matched = |why: &str| Decision::NotMatched(why.to_owned());
    assert_eq!(
        planned,
        [
            outcome("1", "crm", rendered(r#"{"id":"u"}"#)),
            outcome("2", "default", Decision::OtherEventType),
            outcome("3", "default", Decision::Disabled),
            outcome("4", "default", rendered(r#"{"id":"u"}"#)),
            outcome("5", "default", not_matched("`when` is false")),
            outcome("6", "default", not_matched("`when` has no answer: body.x is not there")),
            Outcome {
                action_type: ActionType::TenantsDelete,
                ..outcome(
                    "tenants_delete",
                    "default",
                    failed("missing_field", "id: body.groupId is not there"),
                )
            },
        ]
    );
}

#[test]
fn a_condition_must_be_true_or_false() {
    let mapping = Mapping {
        when: Some(Expression::compile("body.plan").unwrap()),
        ..minimal(ActionType::UsersDelete)
    };
    let result = decide(mapping, r#"{"userId":"u","plan":"pro"}"#);
    let Decision::NotMatched(why) = result else { panic!("{result:?}") };
    assert!(why.starts_with("`when` has no answer: "), "{why}");
}

#[test]
fn denied_actions_of_uncovered_events_fail() {
    let mappings = Mappings::new(vec![
        minimal(ActionType::UsersDelete),
        minimal(ActionType::TenantsDelete),
        Mapping {
            when: Some(Expression::compile("false").unwrap()),
            ..minimal(ActionType::ObjectsDelete)
        },
    ]);
    let deny = [ActionType::UsersDelete, ActionType::ObjectsDelete];
    let planned = |covered| {
        let document = document(r#"{"userId":"u"}"#);
        let outcomes = mappings.plan(&document, "e", covered, &deny);
        outcomes.into_iter().map(|outcome| outcome.result).collect::<Vec<_>>()
    };
    let done = || rendered(r#"{"id":"u"}"#);
    let not_matched = || Decision::NotMatched("`when` is false".to_owned());
    assert_eq!(planned(true), [done(), not_matched(), done()]);
    let denied = failed("not_covered", "users_delete is denied to events that no signature covers");
    assert_eq!(planned(false), [denied, not_matched(), done()]);
}
