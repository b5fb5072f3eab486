//! One attempt: the one place where kinds of destinations are told apart.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use segment_source_core::{event::ActionId, source::SourceId};
use segment_source_store::{LeaseToken, Leased, Millis};
use tokio::time::{Instant, timeout};

use super::{Outcome, Shared, code, pacer::Calls};
use crate::{
    Credential, Destination, Format, Kind,
    client::Request,
    http,
    knock::{self, Call},
};

/// A whole attempt: all connections, requests and answers of it. Shorter than a lease.
const ATTEMPT: Duration = Duration::from_secs(30);

/// What must be remembered of a lease while it is attempted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) token: LeaseToken,
    pub(super) action: ActionId,
    pub(super) attempt: u32,
    pub(super) first_attempt: Option<Millis>,
    /// The only one under way, to find out how the destination is.
    pub(super) probe: bool,
    /// Which of the worker's configurations it is attempted with.
    pub(super) edition: u32,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
}

/// What is to be done for an action.
pub(super) enum Job {
    Post(Leased),
    Calls(Leased, Vec<Call>),
    Store(Leased),
}

/// Finds out what is to be done.
///
/// # Errors
/// When that can be said without asking the destination.
pub(super) fn job(kind: &Kind, leased: Leased) -> Result<Job, Outcome> {
    match kind {
        Kind::Http { .. } => Ok(Job::Post(leased)),
        Kind::Directory => Ok(Job::Store(leased)),
        Kind::Knock { .. } => {
            let payload = leased.record.payload.as_deref().unwrap_or_default();
            let calls = match leased.record.action_type.parse() {
                Ok(action) => knock::calls(action, payload),
                Err(error) => Err(Outcome::invalid_request(error.to_string())),
            };
            Ok(Job::Calls(leased, calls?))
        }
        // The compiler and `Kind::is_pushed` keep queues out.
        Kind::Queue => Err(Outcome::invalid_request("a queue is read, and nothing is sent")),
    }
}

/// The calls of a job that are counted; `None`: nobody counts.
pub(super) fn counted<'a>(kind: &'a Kind, job: &Job) -> Option<Calls<'a>> {
    match (job, kind) {
        (Job::Calls(_, calls), Kind::Knock { api_key: Some(who), .. }) => {
            // Calls of one action are of one limit.
            let tier = calls.first()?.tier;
            Some(Calls { who, tier, count: u32::try_from(calls.len()).unwrap_or(u32::MAX) })
        }
        _ => None,
    }
}

/// Makes the attempt.
pub(super) async fn attempt(
    shared: &Shared,
    source: &SourceId,
    destination: &Destination,
    job: Job,
) -> Outcome {
    let doing = async {
        match (job, &destination.kind) {
            (Job::Post(leased), Kind::Http { url, signing_secrets, format }) => {
                let secrets = signing_secrets.as_deref().unwrap_or_default();
                post(shared, source, &leased, (url, secrets), *format).await
            }
            (Job::Calls(leased, calls), Kind::Knock { api_key: Some(key), base_url }) => {
                call_all(shared, &leased, calls, key, base_url).await
            }
            _ => Err(Outcome::invalid_request("the destination is of another kind now")),
        }
    };
    match timeout(ATTEMPT, doing).await {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) => {
            let message = format!("it was not done within {} s", ATTEMPT.as_secs());
            Outcome::Retry { code: code::TIMEOUT, message, after: None }
        }
    }
}

async fn post(
    shared: &Shared,
    source: &SourceId,
    leased: &Leased,
    to: (&str, &[Credential]),
    format: Format,
) -> Result<Outcome, Outcome> {
    let post = match format {
        Format::Action => http::Post::Action,
        Format::Segment => {
            let entry = shared.store.event(leased.action.event).await.map_err(|error| {
                Outcome::Retry { code: code::STORE, message: error.to_string(), after: None }
            })?;
            let body = entry.map(|entry| entry.event.body).filter(|body| !body.is_empty());
            let message = "its event is no longer in the log".to_owned();
            http::Post::Event(body.ok_or(Outcome::Dead { code: code::EVENT_GONE, message })?)
        }
    };
    let request = http::request(source, leased, to, post, Timestamp::now())?;
    let response = shared.client.send(request).await?;
    Ok(http::judge(&response, Timestamp::now()))
}

/// Makes the calls of an action one after the other, up to the first that fails.
async fn call_all(
    shared: &Shared,
    leased: &Leased,
    calls: Vec<Call>,
    key: &Credential,
    base_url: &str,
) -> Result<Outcome, Outcome> {
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        let request = request(leased, &call, key, base_url)?;
        let response = shared.client.send(request).await?;
        match knock::judge(&call, &response, Timestamp::now()) {
            Outcome::Done { answer } => answers.push(answer),
            outcome => {
                if let Outcome::Retry { code: code::RATE_LIMITED, after, .. } = &outcome {
                    let wait = after.unwrap_or(SECOND).min(LONGEST_PAUSE);
                    shared.pacer.pause(key, call.tier, wait, Instant::now());
                }
                return Ok(outcome);
            }
        }
    }
    answers.dedup();
    Ok(Outcome::Done { answer: answers.join("; ") })
}

const SECOND: Duration = Duration::from_secs(1);

/// No answer stops all calls of a credential for longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

fn request(
    leased: &Leased,
    call: &Call,
    key: &Credential,
    base_url: &str,
) -> Result<Request, Outcome> {
    let url = Url::parse(&format!("{base_url}{}", call.path));
    let url = url
        .map_err(|error| Outcome::invalid_request(format!("the base URL makes no URL: {error}")))?;
    let mut headers = HeaderMap::new();
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| {
        let message = "the API key has characters that no key has; see its Secret".to_owned();
        Outcome::Refused { code: code::CREDENTIAL_REFUSED, message }
    })?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    if call.keyed {
        let key = leased.action.idempotency_key(&leased.record.mapping);
        let key = HeaderValue::from_str(&key)
            .map_err(|error| Outcome::invalid_request(error.to_string()))?;
        headers.insert(HeaderName::from_static("idempotency-key"), key);
    }
    if call.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let method = Method::from_bytes(call.method.as_bytes());
    let method = method.map_err(|error| Outcome::invalid_request(error.to_string()))?;
    Ok(Request { method, url, headers, body: call.body.clone().unwrap_or_default().into() })
}
