//! What fields take, what they refuse, and what they make of it.

use super::{
    ActionType::{
        AudiencesAddMember, UsersDelete, UsersIdentify, WorkflowsCancel, WorkflowsTrigger,
    },
    IDENTIFY, Mapping, Nulls, check, check_failed, decide, mapping, rendered,
};

#[test]
fn ids_are_strings_whatever_they_were() {
    let id = |value: &str, payload: &str| {
        check(UsersDelete, &[("id", "x")], &format!(r#"{{"x":{value}}}"#), payload);
    };
    id(r#""a/b#c""#, r#"{"id":"a/b#c"}"#);
    id("12345678901234567000", r#"{"id":"12345678901234567000"}"#);
    id("1.0", r#"{"id":"1.0"}"#);
    id("1e+21", r#"{"id":"1e+21"}"#);
}

#[test]
fn ids_that_are_no_ids_fail() {
    let id = |value: &str, code, message: &str| {
        check_failed(UsersDelete, &[("id", "x")], &format!("{{{value}}}"), code, message);
    };
    id("", "missing_field", "id: body.x is not there");
    id(r#""x":null"#, "missing_field", "id: body.x is null");
    id(r#""x":"""#, "missing_field", "id: body.x is an empty string");
    let wrong =
        |what| format!("id: body.x is {what}, expected a string that is not empty, or a number");
    id(r#""x":true"#, "wrong_type", &wrong("a boolean"));
    id(r#""x":["a"]"#, "wrong_type", &wrong("a list"));
    id(r#""x":{"id":"a"}"#, "wrong_type", &wrong("an object"));
}

#[test]
fn an_anonymous_identify_fails_and_does_not_fall_back() {
    check_failed(
        UsersIdentify,
        &[("id", "userId")],
        r#"{"userId":null,"anonymousId":"a1"}"#,
        "missing_field",
        "id: body.userId is null",
    );
}

#[test]
fn other_kinds_are_checked_too() {
    let identify = |field: (&str, &str), message: &str| {
        check_failed(UsersIdentify, &[("id", "userId"), field], IDENTIFY, "wrong_type", message);
    };
    identify(
        ("email", "traits.address"),
        "email: body.traits.address is an object, expected a string or a number",
    );
    identify(
        ("preferences", "traits.plan"),
        "preferences: body.traits.plan is a string, expected an object",
    );
    identify(
        ("properties", "traits.plan"),
        "properties: body.traits.plan is a string, expected an object",
    );
    check_failed(
        AudiencesAddMember,
        &[("audience", r#"!"a""#), ("members", "userId"), ("create_audience", "traits.plan")],
        IDENTIFY,
        "wrong_type",
        "create_audience: body.traits.plan is a string, expected true or false",
    );
}

#[test]
fn text_can_be_a_number_or_empty() {
    check(
        UsersIdentify,
        &[("id", "u"), ("name", "n"), ("phone_number", "p")],
        r#"{"u":"u","n":"","p":15555550100}"#,
        r#"{"id":"u","name":"","phone_number":"15555550100"}"#,
    );
}

#[test]
fn expressions_that_have_no_value_fail_their_action() {
    check_failed(
        UsersIdentify,
        &[("id", "userId"), ("name", "=body.traits.nickname")],
        IDENTIFY,
        "expression_error",
        "name: the expression has no value: body.traits.nickname is not there",
    );
    check_failed(
        UsersDelete,
        &[("id", "=null")],
        IDENTIFY,
        "missing_field",
        "id: the expression's result is null",
    );
}

#[test]
fn recipients_become_a_list() {
    let recipients = |value: &str, list: &str| {
        check(
            WorkflowsTrigger,
            &[("workflow", r#"!"w""#), ("recipients", "r")],
            &format!(r#"{{"r":{value}}}"#),
            &format!(r#"{{"workflow":"w","recipients":{list}}}"#),
        );
    };
    recipients(r#""u""#, r#"["u"]"#);
    recipients("7", r#"["7"]"#);
    recipients(r#"{"email":"e","id":7,"n":7}"#, r#"[{"email":"e","id":"7","n":7}]"#);
    recipients(
        r#"[1,{"id":2,"collection":3},"u","u"]"#,
        r#"["1",{"id":"2","collection":"3"},"u","u"]"#,
    );
}

#[test]
fn recipients_that_are_none_fail() {
    let recipients = |value: &str, code, message: &str| {
        check_failed(
            WorkflowsTrigger,
            &[("workflow", r#"!"w""#), ("recipients", "data.email")],
            &format!(r#"{{"data":{{{value}}}}}"#),
            code,
            &format!("recipients: body.data.email{message}"),
        );
    };
    recipients("", "missing_field", " is not there");
    recipients(r#""email":null"#, "missing_field", " is null");
    recipients(r#""email":"""#, "missing_field", " is an empty string");
    recipients(r#""email":[]"#, "missing_field", " is an empty list");
    let entity = |what| format!("{what}, expected an id, or an object with an `id`");
    let id = |what| format!("{what}, expected a string that is not empty, or a number");
    recipients(r#""email":false"#, "wrong_type", &entity(" is a boolean"));
    recipients(r#""email":["a",["b"]]"#, "wrong_type", &entity("[1] is a list"));
    recipients(r#""email":[null]"#, "wrong_type", &entity("[0] is null"));
    recipients(r#""email":[""]"#, "wrong_type", &entity("[0] is an empty string"));
    recipients(r#""email":{"x":1}"#, "wrong_type", &id(".id is not there"));
    recipients(r#""email":["a",{"id":null}]"#, "wrong_type", &id("[1].id is null"));
    recipients(
        r#""email":[{"id":"a","collection":null}]"#,
        "wrong_type",
        &id("[0].collection is null"),
    );
}

#[test]
fn members_that_are_none_fail() {
    let members = |value: &str, code, message: &str| {
        check_failed(
            AudiencesAddMember,
            &[("audience", r#"!"a""#), ("members", "m")],
            &format!(r#"{{"m":{value}}}"#),
            code,
            &format!("members: body.m{message}"),
        );
    };
    members("[]", "missing_field", " is an empty list");
    members(
        r#"[{"user":null}]"#,
        "wrong_type",
        "[0].user is null, expected an id, or an object with an `id`",
    );
    members(
        r#"[{"user":{}}]"#,
        "wrong_type",
        "[0].user.id is not there, expected a string that is not empty, or a number",
    );
    members(
        r#"[{"user":"u","tenant":{}}]"#,
        "wrong_type",
        "[0].tenant is an object, expected a string that is not empty, or a number",
    );
    check_failed(
        AudiencesAddMember,
        &[("audience", r#"!"a""#), ("members", "m"), ("tenant", "t")],
        r#"{"m":["u"],"t":{"id":"x"}}"#,
        "wrong_type",
        "tenant: body.t is an object, expected a string that is not empty, or a number",
    );
    check_failed(
        AudiencesAddMember,
        &[("audience", r#"!"a""#), ("members", "m"), ("tenant", "t")],
        &format!(r#"{{"m":["u"],"t":"{}"}}"#, "x".repeat(1_023)),
        "wrong_type",
        "tenant: body.t is longer than 1024 bytes",
    );
}

#[test]
fn at_most_a_thousand_recipients() {
    let body = |n: usize| format!(r#"{{"u":"u","r":[{}]}}"#, vec!["1"; n].join(","));
    let trigger = [("workflow", r#"!"w""#), ("recipients", "r")];
    let payload =
        format!(r#"{{"workflow":"w","recipients":[{}]}}"#, vec![r#""1""#; 1_000].join(","));
    check(WorkflowsTrigger, &trigger, &body(1_000), &payload);
    let too_many =
        |field: &str| format!("{field}: body.r has 1001 elements, at most 1000 are possible");
    check_failed(
        WorkflowsTrigger,
        &trigger,
        &body(1_001),
        "too_many_recipients",
        &too_many("recipients"),
    );
    check_failed(
        AudiencesAddMember,
        &[("audience", r#"!"a""#), ("members", "r")],
        &body(1_001),
        "too_many_recipients",
        &too_many("members"),
    );
}

#[test]
fn a_cancellation_never_widens() {
    let cancel = |recipients: &str, message: &str| {
        let fields =
            [("workflow", r#"!"w""#), ("cancellation_key", "k"), ("recipients", recipients)];
        let cancel = Mapping { nulls: Nulls::Send, ..mapping(WorkflowsCancel, &fields) };
        assert_eq!(
            decide(cancel, r#"{"k":"k","n":null,"e":[]}"#),
            super::failed("missing_field", message)
        );
    };
    cancel("x", "recipients: body.x is not there");
    cancel("n", "recipients: body.n is null");
    cancel("e", "recipients: body.e is an empty list");
}

#[test]
fn fields_win_over_properties_and_ids_stay() {
    let body = r#"{"u":"u","traits":{"id":"evil","collection":"c","email":"t@example.com","name":"T","phone":"1"}}"#;
    check(
        UsersIdentify,
        &[
            ("id", "u"),
            ("email", r#"!"f@example.com""#),
            ("name", "nowhere"),
            ("phone_number", "traits.phone"),
            ("properties", "traits"),
        ],
        body,
        r#"{"id":"u","email":"f@example.com","phone_number":"1","collection":"c","phone":"1"}"#,
    );
    check(
        super::ActionType::ObjectsSet,
        &[("id", "u"), ("collection", r#"!"people""#), ("properties", "traits")],
        body,
        r#"{"collection":"people","id":"u","email":"t@example.com","name":"T","phone":"1"}"#,
    );
}

#[test]
fn nulls_are_left_out_or_sent() {
    let fields = [
        ("id", "u"),
        ("name", "traits.name"),
        ("email", "nowhere"),
        ("preferences", "=null"),
        ("properties", "traits"),
    ];
    let body = r#"{"u":"u","traits":{"name":null,"plan":null,"address":{"city":null}}}"#;
    let with = |nulls| decide(Mapping { nulls, ..mapping(UsersIdentify, &fields) }, body);
    assert_eq!(with(Nulls::Omit), rendered(r#"{"id":"u","address":{"city":null}}"#));
    assert_eq!(
        with(Nulls::Send),
        rendered(
            r#"{"id":"u","name":null,"preferences":null,"plan":null,"address":{"city":null}}"#
        )
    );

    let fields = [("id", "u"), ("properties", "traits")];
    for nulls in [Nulls::Omit, Nulls::Send] {
        let identify = Mapping { nulls, ..mapping(UsersIdentify, &fields) };
        assert_eq!(decide(identify, r#"{"u":"u","traits":null}"#), rendered(r#"{"id":"u"}"#));
    }

    let fields = [("audience", r#"!"a""#), ("members", "u"), ("tenant", "t")];
    let add = Mapping { nulls: Nulls::Send, ..mapping(AudiencesAddMember, &fields) };
    assert_eq!(
        decide(add, r#"{"u":"u","t":null}"#),
        rendered(r#"{"audience":"a","members":[{"user":{"id":"u"},"tenant":null}]}"#)
    );
}

#[test]
fn empty_optional_ids_are_left_out() {
    check(
        WorkflowsTrigger,
        &[
            ("workflow", r#"!"w""#),
            ("recipients", "u"),
            ("actor", "e"),
            ("tenant", "e"),
            ("cancellation_key", "e"),
        ],
        r#"{"u":"u","e":""}"#,
        r#"{"workflow":"w","recipients":["u"]}"#,
    );
}
