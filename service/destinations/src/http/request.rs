//! From an action to the request that carries it. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use segment_source_core::source::SourceId;
use segment_source_store::Leased;

use super::{envelope::envelope, signing};
use crate::{Credential, client::Request, delivery::Outcome};

/// What is posted.
#[derive(Clone, Debug)]
pub(crate) enum Post {
    /// The action.
    Action,
    /// The event's own bytes.
    Event(Bytes),
}

/// The request of one attempt, made at `now`.
///
/// # Errors
/// When there is no such request: then the action is dead.
pub(crate) fn request(
    source: &SourceId,
    leased: &Leased,
    (url, secrets): (&str, &[Credential]),
    post: Post,
    now: Timestamp,
) -> Result<Request, Outcome> {
    let key = leased.action.idempotency_key(&leased.record.mapping);
    let mut headers = Headers::default();
    headers.add("content-type", "application/json")?;
    headers.add("idempotency-key", &key)?;
    headers.add("webhook-id", &key)?;
    let body = match post {
        Post::Action => {
            let body = envelope(&key, source, leased.action, &leased.record);
            let body = body.map_err(|error| {
                Outcome::invalid_request(format!("the action is no JSON: {error}"))
            })?;
            let seconds = now.as_second();
            headers.add("webhook-timestamp", &seconds.to_string())?;
            if !secrets.is_empty() {
                let signature = signing::standard(secrets, &key, seconds, &body);
                let signature =
                    signature.ok_or_else(|| Outcome::invalid_request("it cannot be signed"))?;
                headers.add("webhook-signature", &signature)?;
            }
            Bytes::from(body)
        }
        Post::Event(body) => {
            if let Some(secret) = secrets.first() {
                let signature = signing::segment(secret, &body);
                let signature =
                    signature.ok_or_else(|| Outcome::invalid_request("it cannot be signed"))?;
                headers.add("x-signature", &signature)?;
            }
            body
        }
    };
    let url = Url::parse(url)
        .map_err(|error| Outcome::invalid_request(format!("the URL is none: {error}")))?;
    Ok(Request { method: Method::POST, url, headers: headers.0, body })
}

#[derive(Default)]
struct Headers(HeaderMap);

impl Headers {
    fn add(&mut self, name: &'static str, value: &str) -> Result<(), Outcome> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Outcome::invalid_request(format!("the header {name} cannot have its value"))
        })?;
        value.set_sensitive(name.ends_with("signature"));
        self.0.insert(HeaderName::from_static(name), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use segment_source_core::{
        event::{ActionId, EventId},
        source::{SourceHash, SourceId},
    };
    use segment_source_store::{Action, LeaseToken, Leased};

    use super::{Post, request};
    use crate::{Credential, delivery::Outcome};

    fn leased(payload: &'static str) -> Leased {
        let event = EventId { millis: 1_772_446_530_220, sequence: 0, source: SourceHash([1; 8]) };
        Leased {
            token: LeaseToken([0; 24]),
            expires: 0,
            attempt: 1,
            first_attempt: None,
            action: ActionId { event, run: 0, index: 0 },
            record: Action {
                mapping: "welcome".into(),
                action_type: "users_identify".into(),
                destination: "crm".into(),
                event_type: "identify".into(),
                event_timestamp: "2026-03-02T10:15:30.220Z".into(),
                payload: Some(payload.into()),
            },
        }
    }

    fn made(
        secrets: &[&str],
        post: Post,
        payload: &'static str,
    ) -> (Vec<(String, String)>, String) {
        let source = SourceId::new("prod", "web").unwrap();
        let secrets: Vec<_> = secrets.iter().map(|secret| Credential::new(secret)).collect();
        let to = ("https://example.com/in?x=1", &secrets[..]);
        let now = Timestamp::from_second(1_772_446_531).unwrap();
        let made = request(&source, &leased(payload), to, post, now).unwrap();
        assert_eq!((made.method.as_str(), made.url.as_str()), ("POST", to.0));
        let headers = made.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
        (headers.collect(), String::from_utf8(made.body.to_vec()).unwrap())
    }

    const KEY: &str = "KEY";

    fn expected(more: &[(&str, &str)]) -> Vec<(String, String)> {
        let key = leased("").action.idempotency_key("welcome");
        let mut all = vec![
            ("content-type", "application/json"),
            ("idempotency-key", KEY),
            ("webhook-id", KEY),
        ];
        all.extend(more);
        let own = |value: &str| value.replace(KEY, &key);
        all.iter().map(|(name, value)| ((*name).to_owned(), own(value))).collect()
    }

    #[test]
    fn an_action_is_posted_in_an_envelope() {
        let (headers, body) = made(&[], Post::Action, r#"{"id": "u",  "n": 1.50}"#);
        assert_eq!(headers, expected(&[("webhook-timestamp", "1772446531")]));
        let key = leased("").action.idempotency_key("welcome");
        let expected = format!(
            "{{\"id\":\"{key}\",\"type\":\"users_identify\",\"source\":\"prod/web\",\
             \"mapping\":\"welcome\",\"event\":{{\"id\":\"019cae0bbaac-0000-0101010101010101\",\
             \"type\":\"identify\",\"timestamp\":\"2026-03-02T10:15:30.220Z\",\
             \"acceptedAt\":\"2026-03-02T10:15:30.220Z\"}},\"data\":{{\"id\": \"u\",  \"n\": 1.50}}}}"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn it_is_signed_by_every_secret() {
        let (headers, body) = made(&["a!", "b!"], Post::Action, "{}");
        let (name, signature) = headers.last().unwrap();
        let key = leased("").action.idempotency_key("welcome");
        let sign = |secret: &str| {
            let webhook = standardwebhooks::Webhook::from_bytes(secret.into()).unwrap();
            webhook.sign(&key, 1_772_446_531, body.as_bytes()).unwrap()
        };
        assert_eq!(name, "webhook-signature");
        assert_eq!(*signature, format!("{} {}", sign("a!"), sign("b!")));
    }

    #[test]
    fn an_event_is_posted_as_it_is_and_signed_as_segment_does() {
        let event = Post::Event("what do ya want for nothing?".into());
        let (headers, body) = made(&["Jefe", "other"], event, "{}");
        let signature = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        assert_eq!(headers, expected(&[("x-signature", signature)]));
        assert_eq!(body, "what do ya want for nothing?");
    }

    #[test]
    fn what_is_no_request_is_dead() {
        let source = SourceId::new("prod", "web").unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let no_url = request(&source, &leased("{}"), ("x", &[]), Post::Action, now);
        assert!(matches!(no_url, Err(Outcome::Dead { code: "invalid_request", .. })));
        let to = ("http://x", &[][..]);
        let no_json = request(&source, &leased("{"), to, Post::Action, now);
        assert!(matches!(no_json, Err(Outcome::Dead { code: "invalid_request", .. })));
    }
}
