//! Every answer the edge gives, in one table.
//!
//! Segment drops an event for good on most 4xx answers and tries again for 4 hours on 408, 429 and
//! 5xx. So 401, 404, 405, 413 and 415 are for what no waiting can heal, and everything else that
//! goes wrong is 408, 429 or 503.

use std::{fmt, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Every event is durable, or a duplicate of one that is.
    Accepted {
        /// Events that are new.
        accepted: u64,
        /// Events that repeat one.
        duplicate: u64,
    },
    /// No signature header, and the source's secrets have proved right before.
    SignatureMissing,
    /// More than one signature header, or none of the right form.
    SignatureMalformed,
    /// No live secret matches.
    SignatureMismatch,
    /// A batch's first element is signed, but the required header is missing or wrong.
    RequiredHeaderWrong,
    /// There is no such source.
    SourceUnknown,
    /// The path is no source's.
    PathUnknown,
    /// Not POST, PUT or PATCH.
    MethodNotAllowed,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The body is over the limit.
    BodyTooLarge,
    /// A content-encoding other than identity.
    ContentEncoding,
    /// Over the source's rate limit.
    RateLimited {
        /// When the request would pass.
        retry_after: Duration,
    },
    /// Configuration has not arrived yet, and the source is not in what there is.
    NotSynced,
    /// The source's configuration cannot be used.
    SourceNotLoaded,
    /// The source was removed within the last hour.
    SourceRemoved,
    /// The source's signing secret, or required header, is missing.
    SecretNotLoaded,
    /// `suspend: Intake`.
    IntakeSuspended,
    /// An array, and the source takes none.
    ArrayRefused,
    /// Verification failed, but the secret has not proved right yet: it may be mistyped.
    SecretUnproven,
    /// Too many bytes of bodies in memory.
    OverBudget,
    /// The body ended early or was malformed.
    BodyBroken,
    /// Too many requests wait for ingest.
    QueueFull,
    /// Ingest could not be reached, or not in time.
    IngestUnreachable,
    /// Ingest cannot write now.
    StoreUnavailable,
    /// The store is full.
    StoreFull,
    /// Ingest does not know the source yet.
    IngestUnknownSource,
    /// This process is shutting down.
    Draining,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: u16,
    /// Seconds for `Retry-After`; 429 computes its own.
    pub retry_after: Option<u64>,
    /// For machines: the `code` of the answer and the `reason` of metrics.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

const fn row(
    status: u16,
    retry_after: Option<u64>,
    code: &'static str,
    message: &'static str,
) -> Row {
    Row { status, retry_after, code, message }
}

impl Reply {
    /// One of each.
    pub const ALL: [Self; 27] = [
        Self::Accepted { accepted: 0, duplicate: 0 },
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
        Self::RequiredHeaderWrong,
        Self::SourceUnknown,
        Self::PathUnknown,
        Self::MethodNotAllowed,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::ContentEncoding,
        Self::RateLimited { retry_after: Duration::from_secs(1) },
        Self::NotSynced,
        Self::SourceNotLoaded,
        Self::SourceRemoved,
        Self::SecretNotLoaded,
        Self::IntakeSuspended,
        Self::ArrayRefused,
        Self::SecretUnproven,
        Self::OverBudget,
        Self::BodyBroken,
        Self::QueueFull,
        Self::IngestUnreachable,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::IngestUnknownSource,
        Self::Draining,
    ];

    /// The table.
    #[must_use]
    pub fn row(self) -> Row {
        match self {
            Self::Accepted { .. } => row(202, None, "accepted", "Every event is stored."),
            Self::SignatureMissing => row(
                401,
                None,
                "signature_missing",
                "X-Signature is missing: set the shared secret in Segment.",
            ),
            Self::SignatureMalformed => row(
                401,
                None,
                "signature_malformed",
                "X-Signature must come once and be 40 lower-case hex digits.",
            ),
            Self::SignatureMismatch => row(
                401,
                None,
                "signature_mismatch",
                "X-Signature matches no signing secret of this source for the bytes received.",
            ),
            Self::RequiredHeaderWrong => row(
                401,
                None,
                "required_header_wrong",
                "A batch signed by its first element needs the source's required header, once and right.",
            ),
            Self::SourceUnknown => row(404, None, "source_unknown", "There is no such source."),
            Self::PathUnknown => {
                row(404, None, "path_unknown", "Sources are at /v1/sources/NAMESPACE/NAME.")
            }
            Self::MethodNotAllowed => {
                row(405, None, "method_not_allowed", "Use POST, PUT or PATCH.")
            }
            Self::BodyTooSlow => {
                row(408, None, "body_too_slow", "The body did not arrive in time.")
            }
            Self::BodyTooLarge => {
                row(413, None, "body_too_large", "The body is over the size limit.")
            }
            Self::ContentEncoding => {
                row(415, None, "content_encoding", "Send the body without Content-Encoding.")
            }
            Self::RateLimited { .. } => {
                row(429, Some(1), "rate_limited", "Over the source's rate limit.")
            }
            Self::NotSynced => {
                row(503, Some(5), "not_synced", "Configuration has not arrived yet.")
            }
            Self::SourceNotLoaded => row(
                503,
                Some(30),
                "source_not_loaded",
                "The source's configuration cannot be used yet.",
            ),
            Self::SourceRemoved => {
                row(503, Some(60), "source_removed", "The source was removed within the last hour.")
            }
            Self::SecretNotLoaded => {
                row(503, Some(30), "secret_not_loaded", "A secret of the source is not there yet.")
            }
            Self::IntakeSuspended => row(
                503,
                Some(60),
                "intake_suspended",
                "The source takes no events now (suspend: Intake).",
            ),
            Self::ArrayRefused => row(
                503,
                Some(60),
                "array_refused",
                "The source takes no batches: turn batching off in Segment, or set batches.policy.",
            ),
            Self::SecretUnproven => row(
                503,
                Some(60),
                "secret_unproven",
                "Verification failed, and the source's secret has verified nothing yet: it may be wrong.",
            ),
            Self::OverBudget => {
                row(503, Some(5), "over_budget", "Too many requests are under way.")
            }
            Self::BodyBroken => {
                row(503, Some(1), "body_broken", "The body ended early or was malformed.")
            }
            Self::QueueFull => {
                row(503, Some(5), "queue_full", "Too many events wait to be stored.")
            }
            Self::IngestUnreachable => {
                row(503, Some(5), "ingest_unreachable", "The events could not be stored in time.")
            }
            Self::StoreUnavailable => {
                row(503, Some(10), "store_unavailable", "The store cannot be written to now.")
            }
            Self::StoreFull => row(503, Some(60), "store_full", "The store is full."),
            Self::IngestUnknownSource => {
                row(503, Some(5), "ingest_unknown_source", "Storage does not know the source yet.")
            }
            Self::Draining => row(
                503,
                Some(1),
                "draining",
                "This process is shutting down; another one will answer.",
            ),
        }
    }

    /// Whether the connection is of no more use.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::BodyTooSlow | Self::BodyBroken | Self::Draining)
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            // Whole seconds, rounded up: trying earlier would be in vain.
            Self::RateLimited { retry_after } => {
                Some(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
            }
            other => other.row().retry_after,
        }
    }
}

impl fmt::Display for Reply {
    /// The body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { accepted, duplicate } => {
                write!(f, r#"{{"accepted":{accepted},"duplicate":{duplicate}}}"#)
            }
            other => {
                let Row { code, message, .. } = other.row();
                write!(f, r#"{{"code":"{code}","message":"{message}"}}"#)
            }
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = self.to_string().into_response();
        *response.status_mut() =
            StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self == Self::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST, PUT, PATCH"));
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use axum::response::IntoResponse;

    use super::Reply;

    #[test]
    fn only_what_no_waiting_can_heal_is_final() {
        for row in Reply::ALL.map(Reply::row) {
            let valid = match row.status {
                202 | 401 | 404 | 405 | 408 | 413 | 415 => row.retry_after.is_none(),
                429 | 503 => row.retry_after.is_some(),
                _ => false,
            };
            assert!(valid, "{row:?}");
            assert!(!row.message.contains(['"', '\\']), "{row:?} is not JSON as it stands");
        }
        let codes: HashSet<&str> = Reply::ALL.iter().map(|reply| reply.row().code).collect();
        assert_eq!(codes.len(), Reply::ALL.len());
    }

    fn check(reply: Reply, status: u16, headers: &[(&str, &str)], body: &str) {
        let response = reply.into_response();
        let found: Vec<(&str, &str)> =
            response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!((response.status().as_u16(), found.as_slice()), (status, headers));
        assert_eq!(reply.to_string(), body);
    }

    #[test]
    fn answers_are_json() {
        let json = ("content-type", "application/json");
        check(
            Reply::Accepted { accepted: 2, duplicate: 1 },
            202,
            &[json],
            r#"{"accepted":2,"duplicate":1}"#,
        );
        check(
            Reply::RateLimited { retry_after: Duration::from_millis(1_001) },
            429,
            &[json, ("retry-after", "2")],
            r#"{"code":"rate_limited","message":"Over the source's rate limit."}"#,
        );
        check(
            Reply::MethodNotAllowed,
            405,
            &[json, ("allow", "POST, PUT, PATCH")],
            r#"{"code":"method_not_allowed","message":"Use POST, PUT or PATCH."}"#,
        );
        check(
            Reply::Draining,
            503,
            &[json, ("retry-after", "1"), ("connection", "close")],
            r#"{"code":"draining","message":"This process is shutting down; another one will answer."}"#,
        );
    }
}
