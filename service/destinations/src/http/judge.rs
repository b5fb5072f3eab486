//! What an endpoint's answer means for the action. Pure.

use jiff::Timestamp;
use reqwest::StatusCode;

use crate::{
    client::Response,
    delivery::{Outcome, code, retry_after},
};

/// The most of the endpoint's own words that is kept.
const WORDS: usize = 200;

/// Judges an answer. `now` is what a date in `Retry-After` is compared with.
pub(crate) fn judge(response: &Response, now: Timestamp) -> Outcome {
    let status = response.status;
    if status.is_success() {
        return Outcome::Done { answer: status.to_string() };
    }
    let message = words(status, &response.body);
    match status.as_u16() {
        401 | 403 => Outcome::Refused { code: code::CREDENTIAL_REFUSED, message },
        408 | 409 | 425 | 429 | 500..=599 => Outcome::Retry {
            code: if status == 429 { code::RATE_LIMITED } else { code::FAILING },
            message,
            after: retry_after(&response.headers, now),
        },
        _ => Outcome::Dead { code: code::REJECTED, message },
    }
}

fn words(status: StatusCode, body: &[u8]) -> String {
    let mut words = format!("the endpoint answered {status}");
    let said = String::from_utf8_lossy(body);
    let said = said.trim();
    if !said.is_empty() {
        words.push_str(": ");
        words.extend(said.chars().filter(|c| !c.is_control()).take(WORDS));
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use reqwest::{
        StatusCode,
        header::{HeaderMap, HeaderValue, RETRY_AFTER},
    };

    use super::judge;
    use crate::{client::Response, delivery::Outcome};

    fn judged(status: u16, body: &'static str) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let status = StatusCode::from_u16(status).unwrap();
        judge(&Response { status, headers, body: body.into() }, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_class_of_answers_has_its_meaning() {
        for status in [200, 201, 204, 299] {
            assert!(matches!(judged(status, "x"), Outcome::Done { .. }), "{status}");
        }
        let after = Some(Duration::from_secs(7));
        for status in [408, 409, 425, 500, 503, 599] {
            let judged = judged(status, "");
            let Outcome::Retry { code: "failing", after: asked, .. } = judged else {
                panic!("{judged:?}")
            };
            assert_eq!(asked, after);
        }
        assert!(matches!(judged(429, ""), Outcome::Retry { code: "rate_limited", .. }));
        for status in [401, 403] {
            assert!(matches!(judged(status, ""), Outcome::Refused { .. }), "{status}");
        }
        for status in [400, 404, 405, 410, 413, 422, 451] {
            assert!(matches!(judged(status, ""), Outcome::Dead { code: "rejected", .. }));
        }
    }

    #[test]
    fn the_endpoints_words_are_kept_short_and_clean() {
        let message = match judged(422, " no\u{1b}[31m\nway ") {
            Outcome::Dead { message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message, "the endpoint answered 422 Unprocessable Entity: no[31mway");
    }
}
