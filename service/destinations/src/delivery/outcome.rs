//! How an attempt ended, and the reason codes of what the engine itself finds. What is made of it
//! is `policy.rs`'s.

use std::time::Duration;

/// How an attempt ended. All kinds of destinations say it in these words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is carried out.
    Done {
        /// What the destination said, for the log; or empty. Never a secret.
        answer: String,
    },
    /// It was not carried out, or nobody knows; the same again may help.
    Retry {
        /// One of [`code`], or of the kind's own fixed set.
        code: &'static str,
        /// What happened, in words.
        message: String,
        /// The destination asks to be left alone this long.
        after: Option<Duration>,
    },
    /// The destination does not take our credential: no action of it has a chance.
    Refused {
        /// One of [`code`].
        code: &'static str,
        /// What happened, in words.
        message: String,
    },
    /// This action will never be taken.
    Dead {
        /// One of [`code`], or of the kind's own fixed set.
        code: &'static str,
        /// What is wrong with it, in words.
        message: String,
    },
}

impl Outcome {
    /// No request can be made of the action or the destination's configuration, and why.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::Dead { code: code::INVALID_REQUEST, message: message.into() }
    }
}

/// Reason codes; metric labels are made of the outcome, never of these.
pub(crate) mod code {
    /// The credential is not taken.
    pub(crate) const CREDENTIAL_REFUSED: &str = "credential_refused";
    /// The destination asks for fewer calls.
    pub(crate) const RATE_LIMITED: &str = "rate_limited";
    /// The destination answers that it cannot now.
    pub(crate) const FAILING: &str = "failing";
    /// The destination answers that it will not.
    pub(crate) const REJECTED: &str = "rejected";
    /// The destination points elsewhere, which is not followed.
    pub(crate) const REDIRECT: &str = "redirect";
    /// No connection, or one that broke.
    pub(crate) const TRANSPORT: &str = "transport";
    /// No answer in time.
    pub(crate) const TIMEOUT: &str = "timeout";
    /// The destination's address may not be reached from here.
    pub(crate) const ADDRESS_NOT_ALLOWED: &str = "address_not_allowed";
    /// The destination's configuration makes no request.
    pub(crate) const INVALID_REQUEST: &str = "invalid_request";
    /// It failed for as long as it may.
    pub(crate) const MAX_AGE: &str = "max_age";
    /// The store could not be read.
    pub(crate) const STORE: &str = "store_unavailable";
    /// A fault of this program.
    pub(crate) const INTERNAL: &str = "internal";
    /// There is nothing to deliver: its event is no longer in the log.
    pub(crate) const EVENT_GONE: &str = "event_gone";

    /// Whether a dead letter with this code means that the destination has answered.
    pub(crate) fn is_answer(code: &str) -> bool {
        matches!(code, REJECTED | REDIRECT) || crate::knock::CODES.contains(&code)
    }
}
