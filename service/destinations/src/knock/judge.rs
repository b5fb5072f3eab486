//! What an answer of Knock means for the action. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, header::HeaderMap};
use serde::Deserialize;

use super::Call;
use crate::{
    client::Response,
    delivery::{Outcome, code, retry_after},
};

/// The most of Knock's own words that is kept.
const WORDS: usize = 300;

/// Knock's codes of errors that are reason codes of dead letters too, so that what failed of one
/// cause is found by it and run again once that is mended. All others are `rejected`.
pub(crate) const CODES: [&str; 5] =
    ["actor_missing", "channel_invalid", "invalid_params", "workflow_inactive", "workflow_missing"];

/// Errors are told by `code`; `message` is for people only.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    code: String,
    message: String,
    workflow_run_id: String,
}

/// Judges one answer. `now` is the time that a date in `Retry-After` is compared with.
pub(crate) fn judge(call: &Call, response: &Response, now: Timestamp) -> Outcome {
    let Response { status, headers, body } = response;
    let status = *status;
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        return Outcome::Done { answer: answer(status, headers, &said) };
    }
    let message = words(status, &said);
    // To delete what is not there is done. An unknown path is answered 404 too, without a code.
    if status == StatusCode::NOT_FOUND && call.method == "DELETE" && !said.code.is_empty() {
        return Outcome::Done { answer: message };
    }
    if matches!(status.as_u16(), 401 | 403) {
        return Outcome::Refused { code: code::CREDENTIAL_REFUSED, message };
    }
    if retryable(status, headers) {
        let after = header(headers, "retry-after-ms")
            .and_then(|value| value.parse().ok())
            .map(Duration::from_millis)
            .or_else(|| retry_after(headers, now));
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        let code = if limited { code::RATE_LIMITED } else { code::FAILING };
        return Outcome::Retry { code, message, after };
    }
    let known = CODES.into_iter().find(|code| *code == said.code);
    Outcome::Dead { code: known.unwrap_or(code::REJECTED), message }
}

/// As Knock's own client decides; but that a limit or a failing server is final, as some proxy on the
/// way may say, is not believed.
fn retryable(status: StatusCode, headers: &HeaderMap) -> bool {
    let heals = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
    heals
        || match header(headers, "x-should-retry") {
            Some("true") => true,
            Some("false") => false,
            _ => status == StatusCode::CONFLICT,
        }
}

fn answer(status: StatusCode, headers: &HeaderMap, said: &Said) -> String {
    let mut answer = status.to_string();
    if !said.workflow_run_id.is_empty() {
        answer.push_str(", workflow_run_id ");
        answer.extend(said.workflow_run_id.chars().take(WORDS));
    }
    if header(headers, "idempotent-replayed") == Some("true") {
        answer.push_str(", replayed: an earlier attempt had succeeded");
    }
    answer
}

fn words(status: StatusCode, said: &Said) -> String {
    let mut words = format!("Knock answered {status}");
    if !said.code.is_empty() || !said.message.is_empty() {
        let told = format!(": {} ({})", said.message, said.code);
        words.extend(told.chars().filter(|c| !c.is_control()).take(WORDS));
    }
    words
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    };
    use segment_source_core::mapping::ActionType;

    use super::{Response, Timestamp, judge};
    use crate::{delivery::Outcome, knock::calls};

    fn judged(
        action: ActionType,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Outcome {
        let payload = br#"{"id":"u","workflow":"w","recipients":["u"]}"#;
        let call = calls(action, payload).unwrap().remove(0);
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response { status, headers, body: body.to_owned().into() };
        judge(&call, &response, Timestamp::UNIX_EPOCH)
    }

    fn triggered(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Outcome {
        judged(ActionType::WorkflowsTrigger, status, headers, body)
    }

    #[test]
    fn success_tells_the_run_and_whether_it_was_replayed() {
        let answer = "200 OK, workflow_run_id 7".to_owned();
        let body = r#"{"workflow_run_id":"7"}"#;
        assert_eq!(triggered(200, &[], body), Outcome::Done { answer: answer.clone() });
        let answer = answer + ", replayed: an earlier attempt had succeeded";
        let replayed = [("idempotent-replayed", "true")];
        assert_eq!(triggered(200, &replayed, body), Outcome::Done { answer });
        let answer = "204 No Content".to_owned();
        assert_eq!(judged(ActionType::UsersDelete, 204, &[], ""), Outcome::Done { answer });
    }

    #[test]
    fn failures_are_told_by_status_and_code() {
        let body = r#"{"code":"invalid_params","message":"no","status":422,"type":"x"}"#;
        let told = |status: &str| format!("Knock answered {status}: no (invalid_params)");
        let message = told("422 Unprocessable Entity");
        assert_eq!(triggered(422, &[], body), Outcome::Dead { code: "invalid_params", message });
        let message = told("401 Unauthorized");
        let refused = Outcome::Refused { code: "credential_refused", message };
        assert_eq!(triggered(401, &[], body), refused);
        let message = told("503 Service Unavailable");
        let again = Outcome::Retry { code: "failing", message, after: None };
        assert_eq!(triggered(503, &[], body), again);
        let stop = [("x-should-retry", "false")];
        assert_eq!(triggered(503, &stop, body), again);
        assert!(matches!(triggered(409, &stop, body), Outcome::Dead { .. }));
        for body in [r#"{"code":"what_is_new","message":"no"}"#, "", "<html>", "[1]"] {
            let dead = triggered(400, &[], body);
            assert!(matches!(dead, Outcome::Dead { code: "rejected", .. }), "{dead:?}");
        }
        for status in [408, 409, 425, 500, 504] {
            assert!(matches!(triggered(status, &[], ""), Outcome::Retry { .. }), "{status}");
        }
        for status in [301, 400, 404, 410, 413] {
            assert!(matches!(triggered(status, &[], ""), Outcome::Dead { .. }), "{status}");
        }
    }

    #[test]
    fn a_limit_says_how_long_to_wait() {
        let after = |headers: &[(&'static str, &'static str)]| match triggered(429, headers, "") {
            Outcome::Retry { code: "rate_limited", after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        let both = [("retry-after-ms", "250"), ("retry-after", "3")];
        assert_eq!(after(&both), Some(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_not_there_needs_no_deleting() {
        let body = r#"{"code":"resource_missing","message":"not found","status":404}"#;
        let answer = "Knock answered 404 Not Found: not found (resource_missing)".to_owned();
        assert_eq!(judged(ActionType::UsersDelete, 404, &[], body), Outcome::Done { answer });
        // A path that Knock does not have.
        let body = r#"{"errors":{"detail":"404 Not Found"}}"#;
        let dead = judged(ActionType::UsersDelete, 404, &[], body);
        assert!(matches!(dead, Outcome::Dead { .. }), "{dead:?}");
    }
}
