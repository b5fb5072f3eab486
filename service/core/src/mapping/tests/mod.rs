//! Payloads, outcomes and failures by whole values.

mod actions;
mod plans;
mod values;

use std::collections::BTreeSet;

use super::{
    ActionTemplate, ActionType, Decision, FAILURE_CODES, Failure, Kind, Mapping, Mappings, Nulls,
    Outcome, Parameter, TemplateError,
};
use crate::{event::Document, expression::Expression, json, path::Path};

const TRACK: &str = r#"{"type":"track","messageId":"node-next-1772446529998-30c5c8e8","userId":"user-1","event":"Order Completed","properties":{"order_id":"o-1001","revenue":39.95,"currency":"USD","products":[{"sku":"A-1","price":19.95},{"sku":"B-2","price":20}],"coupon":null,"note":""}}"#;

const IDENTIFY: &str = r#"{"type":"identify","userId":"user-1","traits":{"name":"Ada Lovelace","email":"ada@example.com","phone":"+15555550100","avatar":"https://cdn.example.com/ada.png","locale":"en-GB","timezone":"Europe/London","plan":"premium","logins":5,"createdAt":"2025-12-01T09:00:00.000Z","address":{"city":"London","country":"GB"}}}"#;

const GROUP: &str = r#"{"type":"group","userId":"user-1","groupId":"acme","traits":{"name":"Acme","industry":"Technology","employees":329,"plan":"enterprise","total billed":830}}"#;

const DELETE: &str =
    r#"{"type":"delete","messageId":"delete-reg-1::job-2-P1","userId":"user-1","context":null}"#;

const HARD: &str = r#"{"type":"track","userId":"用户-42","properties":{"2":"two","escapes":"quote \" backslash \\ tab\tnul\u0000esc\u001b","lone_high":"\ud83d","big_int":12345678901234567000,"exp_big":1e+21,"float":0.30000000000000004,"a.b":{"c d":1},"empty_arr":[],"nul":null}}"#;

fn document(body: &str) -> Document {
    let read = |text: &str| json::read(text.as_bytes()).unwrap();
    Document {
        body: read(body),
        headers: read(r#"{"x-tenant":"acme"}"#),
        preprocess: read(r#"{"plan":"paid"}"#),
    }
}

/// `=` begins an expression, `!` a literal; everything else is a path.
fn parameter(text: &str) -> Parameter {
    match text.split_at(1) {
        ("=", expression) => Parameter::Expression(Expression::compile(expression).unwrap()),
        ("!", literal) => Parameter::Value(json::read(literal.as_bytes()).unwrap()),
        _ => Parameter::Path(Path::parse(text).unwrap()),
    }
}

fn parameters(fields: &[(&str, &str)]) -> Vec<(String, Parameter)> {
    fields.iter().map(|(name, text)| ((*name).to_owned(), parameter(text))).collect()
}

/// A mapping for events of type `e`, named like its action.
fn mapping(action: ActionType, fields: &[(&str, &str)]) -> Mapping {
    Mapping {
        name: action.as_str().to_owned(),
        event_type: "e".to_owned(),
        when: None,
        destination: "default".to_owned(),
        nulls: Nulls::Omit,
        disabled: false,
        action: ActionTemplate::new(action, parameters(fields)).unwrap(),
    }
}

fn decide(mapping: Mapping, body: &str) -> Decision {
    let mappings = Mappings::new(vec![mapping]);
    let mut outcomes = mappings.plan(&document(body), "e", true, &[]);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).result
}

fn rendered(payload: &str) -> Decision {
    Decision::Rendered(payload.to_owned().into())
}

fn failed(code: &'static str, message: &str) -> Decision {
    assert!(FAILURE_CODES.iter().any(|(known, _)| *known == code), "{code} is listed");
    Decision::Failed(Failure { code, message: message.to_owned() })
}

/// The payload of `action` for `body`.
fn check(action: ActionType, fields: &[(&str, &str)], body: &str, payload: &str) {
    assert_eq!(decide(mapping(action, fields), body), rendered(payload), "{action} of {body}");
    json::read(payload.as_bytes()).expect("payloads are JSON");
}

/// The failure of `action` for `body`.
fn check_failed(
    action: ActionType,
    fields: &[(&str, &str)],
    body: &str,
    code: &'static str,
    message: &str,
) {
    assert_eq!(decide(mapping(action, fields), body), failed(code, message), "{action} of {body}");
}

#[test]
fn names_of_actions_are_read_back() {
    for action in ActionType::ALL {
        assert_eq!(action.as_str().parse(), Ok(action));
    }
    assert!(ActionType::ALL.is_sorted());
    let error = "usersIdentify".parse::<ActionType>().unwrap_err().to_string();
    assert!(error.starts_with("`usersIdentify` is no action type; there are: users_identify, "));
}

#[test]
fn field_names_and_codes_are_unique() {
    let unique = |names: Vec<&str>| {
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "in {names:?}");
    };
    for action in ActionType::ALL {
        unique(action.fields().iter().map(|spec| spec.name).collect());
    }
    unique(FAILURE_CODES.iter().map(|(code, _)| *code).collect());
}

#[test]
fn fields_that_make_no_action_are_refused() {
    let check = |action, fields: &[(&str, &str)], expected: &str| {
        let error = ActionTemplate::new(action, parameters(fields)).unwrap_err();
        assert_eq!(error.to_string(), expected);
        error
    };
    let unknown = check(
        ActionType::UsersDelete,
        &[("id", "userId"), ("nam", "x")],
        "nam: users_delete has no such field; it has: id",
    );
    assert_eq!(
        unknown,
        TemplateError::UnknownField { field: "nam".to_owned(), action: ActionType::UsersDelete }
    );
    check(ActionType::UsersDelete, &[("id", "a"), ("id", "b")], "id: given twice");
    check(ActionType::UsersDelete, &[], "id: users_delete needs it");
    check(ActionType::UsersDelete, &[("id", "!null")], "id: the value is null");
    check(
        ActionType::UsersDelete,
        &[("id", "!true")],
        "id: the value is a boolean, expected a string that is not empty, or a number",
    );
    let trigger = |field| {
        let fields = [("workflow", r#"!"w""#), ("recipients", "userId"), field];
        ActionTemplate::new(ActionType::WorkflowsTrigger, parameters(&fields)).map(|_| ())
    };
    assert_eq!(trigger(("tenant", "!null")), Ok(()));
    let message = "data: the value is a number, expected an object".to_owned();
    assert_eq!(trigger(("data", "!7")), Err(TemplateError::Literal { field: "data", message }));
    check(
        ActionType::WorkflowsTrigger,
        &[("workflow", r#"!"""#), ("recipients", "userId")],
        "workflow: the value is an empty string",
    );
}

#[test]
fn keys_are_what_manifests_write_literally() {
    let keys = |action: ActionType| {
        let keys = action.fields().iter().filter(|spec| spec.kind == Kind::Key);
        keys.map(|spec| spec.name).collect::<Vec<_>>()
    };
    let all: BTreeSet<_> = ActionType::ALL.into_iter().flat_map(keys).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["audience", "workflow"]);
}

#[test]
fn an_outcome_borrows_from_the_mappings_alone() {
    let mappings = Mappings::new(vec![mapping(ActionType::UsersDelete, &[("id", "userId")])]);
    let outcomes = {
        let document = document(DELETE);
        mappings.plan(&document, "e", true, &[])
    };
    let expected = Outcome {
        mapping: "users_delete",
        action_type: ActionType::UsersDelete,
        destination: "default",
        result: rendered(r#"{"id":"user-1"}"#),
    };
    assert_eq!(outcomes, [expected]);
}
