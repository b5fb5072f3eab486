//! From an action to the calls that carry it out. Pure.

use indexmap::IndexMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use segment_source_core::{
    json::{self, Value},
    mapping::ActionType,
};

use crate::delivery::Outcome;

/// One request to Knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// Behind the base URL; begins with a slash, ids percent-encoded, perhaps with a query.
    pub(crate) path: String,
    /// JSON; `None`: no body.
    pub(crate) body: Option<String>,
    pub(crate) tier: Tier,
    /// Whether Knock honours an Idempotency-Key here. All other calls may be repeated without one.
    pub(crate) keyed: bool,
}

/// Knock's limits of calls, for each credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Deleting users and tenants.
    Two,
    /// Most calls.
    Three,
    /// Triggers and cancellations.
    Five,
}

impl Tier {
    /// Calls a second that Knock allows, unless it has agreed to more.
    pub(crate) const fn per_second(self) -> u32 {
        match self {
            Self::Two => 5,
            Self::Three => 60,
            Self::Five => 1_000,
        }
    }
}

/// Recipients that one call about subscriptions takes. Members and recipients of workflows may be
/// as many as an action can have.
const RECIPIENTS: usize = 100;

/// Characters of an id, at the most.
const LONGEST_ID: usize = 256;

/// Everything but what URLs always allow in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The calls of an action, to be made one after the other. Repeating all of them after one has
/// failed does no harm.
///
/// # Errors
/// When Knock cannot take it: then the action is dead.
pub(crate) fn calls(action: ActionType, payload: &[u8]) -> Result<Vec<Call>, Outcome> {
    let payload = match json::read(payload) {
        Ok(Value::Object(payload)) => payload,
        Ok(_) | Err(_) => return Err(dead("invalid_payload", "the action is no JSON object")),
    };
    let mut fields = Fields(payload);
    use ActionType as A;
    let call = match action {
        A::UsersIdentify => put(format!("/users/{}", fields.id("id")?), fields, Tier::Three),
        A::UsersDelete => delete(format!("/users/{}", fields.id("id")?), Tier::Two),
        A::ObjectsSet => put(fields.object()?, fields, Tier::Three),
        A::ObjectsDelete => delete(fields.object()?, Tier::Three),
        A::TenantsSet => put(format!("/tenants/{}", fields.id("id")?), fields, Tier::Three),
        A::TenantsDelete => delete(format!("/tenants/{}", fields.id("id")?), Tier::Two),
        A::ObjectsSubscribe | A::ObjectsUnsubscribe => {
            return Ok(subscriptions(action, fields.object()?, fields));
        }
        A::AudiencesAddMember => {
            let mut path = format!("/audiences/{}/members", fields.id("audience")?);
            if fields.take("create_audience") == Some(Value::Bool(true)) {
                path.push_str("?create_audience=true");
            }
            with_body("POST", path, fields, Tier::Three)
        }
        A::AudiencesRemoveMember => {
            let path = format!("/audiences/{}/members", fields.id("audience")?);
            with_body("DELETE", path, fields, Tier::Three)
        }
        A::WorkflowsCancel => {
            let path = format!("/workflows/{}/cancel", fields.id("workflow")?);
            with_body("POST", path, fields, Tier::Five)
        }
        A::WorkflowsTrigger => {
            let path = format!("/workflows/{}/trigger", fields.id("workflow")?);
            Call { keyed: true, ..with_body("POST", path, fields, Tier::Five) }
        }
    };
    Ok(vec![call])
}

fn with_body(method: &'static str, path: String, fields: Fields, tier: Tier) -> Call {
    let body = Some(Value::Object(fields.0).to_string());
    Call { method, path, body, tier, keyed: false }
}

fn put(path: String, fields: Fields, tier: Tier) -> Call {
    with_body("PUT", path, fields, tier)
}

fn delete(path: String, tier: Tier) -> Call {
    Call { method: "DELETE", path, body: None, tier, keyed: false }
}

/// As few calls as the limit of recipients allows.
fn subscriptions(action: ActionType, object: String, mut fields: Fields) -> Vec<Call> {
    let subscribe = action == ActionType::ObjectsSubscribe;
    let method = if subscribe { "POST" } else { "DELETE" };
    let recipients = match fields.take("recipients") {
        Some(Value::Array(recipients)) => recipients,
        other => other.into_iter().collect(),
    };
    let chunk = |recipients: &[Value]| {
        let mut fields = fields.0.clone();
        fields.insert("recipients".to_owned(), Value::Array(recipients.to_vec()));
        with_body(method, format!("{object}/subscriptions"), Fields(fields), Tier::Three)
    };
    recipients.chunks(RECIPIENTS).map(chunk).collect()
}

/// What is left of a payload for the body.
struct Fields(IndexMap<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    fn object(&mut self) -> Result<String, Outcome> {
        Ok(format!("/objects/{}/{}", self.id("collection")?, self.id("id")?))
    }

    /// Takes an id for the path. What Knock forbids is not shortened or replaced: it would become
    /// somebody else's id.
    fn id(&mut self, name: &str) -> Result<String, Outcome> {
        let Some(Value::String(id)) = self.take(name) else {
            return Err(dead("invalid_payload", &format!("{name}: is missing")));
        };
        let what = match id.as_str() {
            "" => Some("is empty".to_owned()),
            // No URL can have these as a part of its path.
            "." | ".." => Some(format!("is `{id}`, which no URL can name")),
            id if id.contains(['/', '#']) => {
                Some("has a `/` or `#`, which Knock forbids".to_owned())
            }
            id if id.chars().count() > LONGEST_ID => {
                let long = id.chars().count();
                Some(format!("has {long} characters, at most {LONGEST_ID} are possible at Knock"))
            }
            _ => None,
        };
        match what {
            Some(what) => Err(dead("invalid_id", &format!("{name}: {what}"))),
            None => Ok(utf8_percent_encode(&id, SEGMENT).to_string()),
        }
    }
}

fn dead(code: &'static str, message: &str) -> Outcome {
    Outcome::Dead { code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use segment_source_core::mapping::ActionType;

    use super::{Call, Tier, calls};
    use crate::delivery::Outcome;

    fn one(action: ActionType, payload: &str) -> (String, Option<String>, Tier, bool) {
        let mut calls = calls(action, payload.as_bytes()).unwrap();
        assert_eq!(calls.len(), 1);
        let Call { method, path, body, tier, keyed } = calls.remove(0);
        (format!("{method} {path}"), body, tier, keyed)
    }

    fn check(action: ActionType, payload: &str, request: &str, body: Option<&str>, tier: Tier) {
        let keyed = action == ActionType::WorkflowsTrigger;
        let wanted = (request.to_owned(), body.map(str::to_owned), tier, keyed);
        assert_eq!(one(action, payload), wanted, "{action}");
    }

    #[test]
    fn every_action_has_its_call() {
        use ActionType as A;
        let three = Tier::Three;
        let user = r#"{"id":"user 1","name":"Ada","plan":{"n":1.0}}"#;
        let body = r#"{"name":"Ada","plan":{"n":1.0}}"#;
        check(A::UsersIdentify, user, "PUT /users/user%201", Some(body), three);
        check(A::UsersDelete, r#"{"id":"ü"}"#, "DELETE /users/%C3%BC", None, Tier::Two);
        let object = r#"{"collection":"a b","id":"1","name":"x"}"#;
        check(A::ObjectsSet, object, "PUT /objects/a%20b/1", Some(r#"{"name":"x"}"#), three);
        let object = r#"{"collection":"a","id":"1"}"#;
        check(A::ObjectsDelete, object, "DELETE /objects/a/1", None, three);
        let tenant = r#"{"id":"t","settings":{}}"#;
        check(A::TenantsSet, tenant, "PUT /tenants/t", Some(r#"{"settings":{}}"#), three);
        check(A::TenantsDelete, r#"{"id":"t"}"#, "DELETE /tenants/t", None, Tier::Two);
        let subscribe = r#"{"collection":"a","id":"1","recipients":["u"],"properties":{"k":1}}"#;
        let body = r#"{"properties":{"k":1},"recipients":["u"]}"#;
        check(A::ObjectsSubscribe, subscribe, "POST /objects/a/1/subscriptions", Some(body), three);
        let body = r#"{"recipients":["u",{"collection":"c","id":"i"}]}"#;
        let unsubscribe = format!(r#"{{"collection":"a","id":"1",{}"#, &body[1..]);
        let request = "DELETE /objects/a/1/subscriptions";
        check(A::ObjectsUnsubscribe, &unsubscribe, request, Some(body), three);
        let body = r#"{"members":[{"user":{"id":"u"},"tenant":"t"}]}"#;
        let add = format!(r#"{{"audience":"vip","create_audience":true,{}"#, &body[1..]);
        let request = "POST /audiences/vip/members?create_audience=true";
        check(A::AudiencesAddMember, &add, request, Some(body), three);
        let remove = format!(r#"{{"audience":"vip",{}"#, &body[1..]);
        let request = "DELETE /audiences/vip/members";
        check(A::AudiencesRemoveMember, &remove, request, Some(body), three);
        let body = r#"{"recipients":["u"],"data":{"id":12345678901234567890}}"#;
        let trigger = format!(r#"{{"workflow":"welcome",{}"#, &body[1..]);
        let request = "POST /workflows/welcome/trigger";
        check(A::WorkflowsTrigger, &trigger, request, Some(body), Tier::Five);
        let body = r#"{"cancellation_key":"k"}"#;
        let cancel = format!(r#"{{"workflow":"welcome",{}"#, &body[1..]);
        check(
            A::WorkflowsCancel,
            &cancel,
            "POST /workflows/welcome/cancel",
            Some(body),
            Tier::Five,
        );
    }

    #[test]
    fn subscriptions_are_cut_where_knock_demands_it() {
        let list = |from: usize, to: usize| {
            let all: Vec<String> = (from..to).map(|n| format!("\"{n}\"")).collect();
            all.join(",")
        };
        let payload = format!(r#"{{"collection":"c","id":"i","recipients":[{}]}}"#, list(0, 201));
        let calls = calls(ActionType::ObjectsSubscribe, payload.as_bytes()).unwrap();
        let bodies: Vec<String> = calls.into_iter().filter_map(|call| call.body).collect();
        let wanted = [(0, 100), (100, 200), (200, 201)]
            .map(|(from, to)| format!(r#"{{"recipients":[{}]}}"#, list(from, to)));
        assert_eq!(bodies, wanted);
    }

    #[test]
    fn ids_that_knock_forbids_are_named() {
        let long = "x".repeat(257);
        for (id, what) in [
            ("a/b", "`/` or `#`"),
            ("a#b", "`/` or `#`"),
            (long.as_str(), "257 characters"),
            ("..", "no URL"),
            ("", "empty"),
        ] {
            let payload = format!(r#"{{"id":"{id}"}}"#);
            match calls(ActionType::UsersIdentify, payload.as_bytes()) {
                Err(Outcome::Dead { code: "invalid_id", message }) => {
                    assert!(message.starts_with("id: ") && message.contains(what), "{message}");
                }
                other => panic!("{id}: {other:?}"),
            }
        }
        let payload = format!(r#"{{"id":"{}"}}"#, "ü".repeat(256));
        assert!(calls(ActionType::UsersIdentify, payload.as_bytes()).is_ok());
    }
}
