//! The payload of each action.

use super::{
    ActionType::{
        AudiencesAddMember, AudiencesRemoveMember, ObjectsDelete, ObjectsSet, ObjectsSubscribe,
        ObjectsUnsubscribe, TenantsDelete, TenantsSet, UsersDelete, UsersIdentify, WorkflowsCancel,
        WorkflowsTrigger,
    },
    DELETE, GROUP, HARD, IDENTIFY, TRACK, check,
};

#[test]
fn users_identify() {
    check(
        UsersIdentify,
        &[("properties", "traits"), ("phone_number", "traits.phone"), ("id", "userId")],
        IDENTIFY,
        r#"{"id":"user-1","phone_number":"+15555550100","name":"Ada Lovelace","email":"ada@example.com","phone":"+15555550100","avatar":"https://cdn.example.com/ada.png","locale":"en-GB","timezone":"Europe/London","plan":"premium","logins":5,"createdAt":"2025-12-01T09:00:00.000Z","address":{"city":"London","country":"GB"}}"#,
    );
    check(
        UsersIdentify,
        &[
            ("id", "userId"),
            ("name", "traits.name"),
            ("email", "traits.email"),
            ("phone_number", "traits.phone"),
            ("avatar", "traits.avatar"),
            ("locale", "traits.locale"),
            ("timezone", "traits.timezone"),
            ("created_at", "traits.createdAt"),
            ("channel_data", r#"!{"c1":{"tokens":["t"]}}"#),
            ("preferences", r#"!{"default":{}}"#),
            ("properties", r#"={"plan": preprocess.plan, "logins": body.traits.logins}"#),
        ],
        IDENTIFY,
        r#"{"id":"user-1","name":"Ada Lovelace","email":"ada@example.com","phone_number":"+15555550100","avatar":"https://cdn.example.com/ada.png","locale":"en-GB","timezone":"Europe/London","created_at":"2025-12-01T09:00:00.000Z","channel_data":{"c1":{"tokens":["t"]}},"preferences":{"default":{}},"plan":"paid","logins":5}"#,
    );
}

#[test]
fn hard_values_keep_their_text() {
    check(
        UsersIdentify,
        &[("id", "userId"), ("properties", "properties")],
        HARD,
        "{\"id\":\"用户-42\",\"2\":\"two\",\"escapes\":\"quote \\\" backslash \\\\ tab\\tnul\\u0000esc\\u001b\",\"lone_high\":\"\u{fffd}\",\"big_int\":12345678901234567000,\"exp_big\":1e+21,\"float\":0.30000000000000004,\"a.b\":{\"c d\":1},\"empty_arr\":[]}",
    );
}

#[test]
fn deletions() {
    check(UsersDelete, &[("id", "userId")], DELETE, r#"{"id":"user-1"}"#);
    check(TenantsDelete, &[("id", "userId")], DELETE, r#"{"id":"user-1"}"#);
    check(
        ObjectsDelete,
        &[("collection", r#"!"people""#), ("id", "userId")],
        DELETE,
        r#"{"collection":"people","id":"user-1"}"#,
    );
}

#[test]
fn objects_set() {
    check(
        ObjectsSet,
        &[
            ("collection", r#"!"companies""#),
            ("id", "groupId"),
            ("name", "traits.name"),
            ("locale", r#"!"en""#),
            ("timezone", r#"!"UTC""#),
            ("channel_data", "!{}"),
            ("preferences", "!{}"),
            ("properties", "traits"),
        ],
        GROUP,
        r#"{"collection":"companies","id":"acme","name":"Acme","locale":"en","timezone":"UTC","channel_data":{},"preferences":{},"industry":"Technology","employees":329,"plan":"enterprise","total billed":830}"#,
    );
}

#[test]
fn tenants_set() {
    check(
        TenantsSet,
        &[
            ("id", "groupId"),
            ("name", "traits.name"),
            ("settings", r##"!{"branding":{"primary_color":"#DF1A22"}}"##),
            ("channel_data", "!{}"),
            ("properties", r#"={"employees": body.traits.employees}"#),
        ],
        GROUP,
        r##"{"id":"acme","name":"Acme","settings":{"branding":{"primary_color":"#DF1A22"}},"channel_data":{},"employees":329}"##,
    );
}

#[test]
fn subscriptions() {
    check(
        ObjectsSubscribe,
        &[
            ("collection", r#"!"companies""#),
            ("id", "groupId"),
            ("recipients", "userId"),
            ("properties", "traits"),
        ],
        GROUP,
        r#"{"collection":"companies","id":"acme","recipients":["user-1"],"properties":{"name":"Acme","industry":"Technology","employees":329,"plan":"enterprise","total billed":830}}"#,
    );
    check(
        ObjectsUnsubscribe,
        &[
            ("collection", "type"),
            ("id", "groupId"),
            (
                "recipients",
                r#"=[body.userId, {"id": 7, "email": "x"}, {"id": "p", "name": "P", "collection": "projects"}]"#,
            ),
        ],
        GROUP,
        r#"{"collection":"group","id":"acme","recipients":["user-1","7",{"collection":"projects","id":"p"}]}"#,
    );
}

#[test]
fn audiences() {
    check(
        AudiencesAddMember,
        &[
            ("audience", r#"!"vips""#),
            (
                "members",
                r#"=[body.userId, 7, {"id": "u", "email": "e"}, {"user": "v", "tenant": "own"}, {"user": {"id": 8, "x": 1}, "y": 2, "tenant": null}]"#,
            ),
            ("tenant", "groupId"),
            ("create_audience", "!true"),
        ],
        GROUP,
        r#"{"audience":"vips","members":[{"user":{"id":"user-1"},"tenant":"acme"},{"user":{"id":"7"},"tenant":"acme"},{"user":{"id":"u","email":"e"},"tenant":"acme"},{"user":{"id":"v"},"tenant":"own"},{"user":{"id":"8","x":1},"tenant":"acme"}],"create_audience":true}"#,
    );
    check(
        AudiencesRemoveMember,
        &[("audience", r#"!"vips""#), ("members", "userId"), ("tenant", "nowhere")],
        GROUP,
        r#"{"audience":"vips","members":[{"user":{"id":"user-1"}}]}"#,
    );
}

#[test]
fn workflows_trigger() {
    check(
        WorkflowsTrigger,
        &[("workflow", r#"!"receipt""#), ("recipients", "userId"), ("data", "properties")],
        TRACK,
        r#"{"workflow":"receipt","recipients":["user-1"],"data":{"order_id":"o-1001","revenue":39.95,"currency":"USD","products":[{"sku":"A-1","price":19.95},{"sku":"B-2","price":20}],"coupon":null,"note":""}}"#,
    );
    check(
        WorkflowsTrigger,
        &[
            ("cancellation_key", "properties.order_id"),
            ("tenant", r#"={"id": headers["x-tenant"], "collection": 1}"#),
            ("actor", r#"={"id": 7, "collection": "bots"}"#),
            ("recipients", r#"=[{"id": body.userId, "email": "ada@example.com"}, 12345678901]"#),
            ("workflow", r#"!"receipt""#),
        ],
        TRACK,
        r#"{"workflow":"receipt","recipients":[{"id":"user-1","email":"ada@example.com"},"12345678901"],"actor":{"id":"7","collection":"bots"},"tenant":{"id":"acme","collection":1},"cancellation_key":"o-1001"}"#,
    );
    check(
        WorkflowsTrigger,
        &[("workflow", r#"!"w""#), ("recipients", "properties.products[*].sku")],
        TRACK,
        r#"{"workflow":"w","recipients":["A-1","B-2"]}"#,
    );
}

#[test]
fn workflows_cancel() {
    check(
        WorkflowsCancel,
        &[
            ("workflow", r#"!"receipt""#),
            ("cancellation_key", "properties.order_id"),
            ("recipients", r#"=[{"id": body.userId, "email": "e"}]"#),
        ],
        TRACK,
        r#"{"workflow":"receipt","cancellation_key":"o-1001","recipients":["user-1"]}"#,
    );
    check(
        WorkflowsCancel,
        &[("workflow", r#"!"receipt""#), ("cancellation_key", "!7")],
        TRACK,
        r#"{"workflow":"receipt","cancellation_key":"7"}"#,
    );
}
