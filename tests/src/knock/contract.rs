//! Knock's OpenAPI document as a judge of requests, and the limits that the document tells in words
//! only.

use std::{collections::BTreeMap, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jsonschema::Validator;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::sink::Asked;

/// What Knock takes.
pub struct Contract {
    operations: Vec<Operation>,
}

struct Operation {
    name: String,
    method: Method,
    /// Segments of the path; those in braces are parameters.
    template: Vec<String>,
    query: Vec<String>,
    /// `None`: a request has no body.
    body: Option<Validator>,
    /// The status of success, the first that the document tells.
    status: u16,
    tier: u64,
}

/// A request that Knock would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The document's operationId.
    pub operation: String,
    /// Parameters of the path, decoded.
    pub ids: BTreeMap<String, String>,
    /// The body, `null` when there is none.
    pub body: Value,
    /// Present on triggers.
    pub idempotency_key: Option<String>,
    /// The status of success.
    pub status: u16,
    /// Which of Knock's limits of calls it counts for: 1 to 5.
    pub tier: u64,
}

/// The most recipients or members, by operation.
const LIMITS: [(&str, &str, usize); 5] = [
    ("addSubscriptionsForObject", "recipients", 100),
    ("deleteSubscriptionsForObject", "recipients", 100),
    ("addAudienceMembers", "members", 1_000),
    ("removeAudienceMembers", "members", 1_000),
    ("triggerWorkflow", "recipients", 1_000),
];

/// Custom properties of a recipient, in bytes.
const PROPERTIES: usize = 256_000;

impl Contract {
    /// Reads the document among the fixtures.
    ///
    /// # Panics
    /// When it is not there or not what it should be.
    #[must_use]
    pub fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/knock/openapi.json");
        let text = std::fs::read_to_string(file).expect("the fixture is there");
        let mut document: Value = serde_json::from_str(&text).expect("the fixture is JSON");
        readable(&mut document);
        let mut operations = Vec::new();
        let paths = document["paths"].as_object().expect("an object").clone();
        for (path, methods) in &paths {
            for (method, operation) in methods.as_object().expect("an object") {
                operations.push(Operation::read(path, method, operation, &document));
            }
        }
        Self { operations }
    }

    /// Judges a request as a sink has it.
    ///
    /// # Errors
    /// As [`Contract::judge`].
    pub fn judge_asked(&self, asked: &Asked) -> Result<Taken, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        let method = asked.method.parse().map_err(|_| "no method".to_owned())?;
        self.judge(&method, &asked.target, &headers, &asked.body)
    }

    /// Judges one request; `target` is path and query as they were sent.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn judge(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Taken, String> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let key = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if key.is_none_or(str::is_empty) {
            return Err("no `Authorization: Bearer ...`".to_owned());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let matching = |it: &&Operation| it.method == method && it.matches(&segments);
        let operation = self.operations.iter().find(matching);
        let operation = operation.ok_or_else(|| format!("no operation {method} {path}"))?;
        let ids = operation.ids(&segments)?;
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !operation.query.iter().any(|it| it == name) || !matches!(value, "true" | "false") {
                return Err(format!("{}: there is no query `{pair}`", operation.name));
            }
        }
        let body = operation.body(header("content-type"), body)?;
        let idempotency_key = header("idempotency-key").map(str::to_owned);
        if idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 255) {
            return Err("Idempotency-Key: must have 1 to 255 characters".to_owned());
        }
        let Operation { name, status, tier, .. } = operation;
        let (operation, status, tier) = (name.clone(), *status, *tier);
        Ok(Taken { operation, ids, body, idempotency_key, status, tier })
    }
}

impl Operation {
    fn read(path: &str, method: &str, operation: &Value, document: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|it| it["in"] == "query").map(|it| text(&it["name"]));
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = schema.is_object().then(|| {
            let root = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [schema],
                "components": document["components"],
            });
            jsonschema::validator_for(&root).expect("the schema can be read")
        });
        let statuses = operation["responses"].as_object().expect("an object").keys();
        Self {
            name: text(&operation["operationId"]),
            method: method.to_uppercase().parse().expect("a method"),
            template: path.split('/').skip(1).map(str::to_owned).collect(),
            query: query.collect(),
            body,
            status: statuses.filter_map(|it| it.parse().ok()).next().expect("a status"),
            tier: operation["x-ratelimit-tier"].as_u64().expect("a tier"),
        }
    }

    fn matches(&self, segments: &[&str]) -> bool {
        let same = |(template, segment): (&String, &&str)| {
            template.starts_with('{') || template == segment
        };
        self.template.len() == segments.len() && self.template.iter().zip(segments).all(same)
    }

    fn ids(&self, segments: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let mut ids = BTreeMap::new();
        for (template, segment) in self.template.iter().zip(segments) {
            let Some(name) = template.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
                continue;
            };
            let id = percent_decode_str(segment).decode_utf8();
            let id = id.map_err(|_| format!("{name}: is not UTF-8"))?;
            if id.is_empty() || id.contains(['/', '#']) || id.chars().count() > 256 {
                return Err(format!("{name}: Knock forbids `{id}`"));
            }
            ids.insert(name.to_owned(), id.into_owned());
        }
        Ok(ids)
    }

    fn body(&self, content_type: Option<&str>, body: &[u8]) -> Result<Value, String> {
        let name = &self.name;
        let Some(schema) = &self.body else {
            return match body {
                [] => Ok(Value::Null),
                _ => Err(format!("{name}: takes no body")),
            };
        };
        if content_type != Some("application/json") {
            return Err(format!("{name}: Content-Type is {content_type:?}"));
        }
        let body: Value =
            serde_json::from_slice(body).map_err(|error| format!("{name}: {error}"))?;
        if let Some(error) = schema.iter_errors(&body).next() {
            return Err(format!("{name}: {}: {error}", error.instance_path()));
        }
        for (operation, list, most) in LIMITS {
            let count = body[list].as_array().map_or(0, Vec::len);
            if operation == name && (count == 0 || count > most) {
                return Err(format!("{name}: {list}: 1 to {most} are possible, not {count}"));
            }
        }
        // The document forgets to require what references consist of.
        let references =
            matches!(name.as_str(), "deleteSubscriptionsForObject" | "cancelWorkflow (2)");
        let is_reference =
            |it: &Value| it.is_string() || it["id"].is_string() && it["collection"].is_string();
        let mut recipients = body["recipients"].as_array().into_iter().flatten();
        if references && !recipients.all(is_reference) {
            return Err(format!(
                "{name}: recipients: must be ids, or objects by collection and id"
            ));
        }
        if self.method == Method::PUT && body.to_string().len() > PROPERTIES {
            return Err(format!("{name}: more than {PROPERTIES} bytes of properties"));
        }
        Ok(body)
    }
}

/// What the document says in a way that JSON Schema does not: `nullable: true`, and `oneOf` with
/// alternatives of which several fit (an inline object fits an inline user too).
fn readable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(readable);
            if let Some(alternatives) = fields.remove("oneOf") {
                fields.insert("anyOf".to_owned(), alternatives);
            }
            if fields.remove("nullable") == Some(json!(true)) {
                let other = std::mem::take(fields);
                fields.insert("anyOf".to_owned(), json!([{"type": "null"}, other]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(readable),
        _ => {}
    }
}
