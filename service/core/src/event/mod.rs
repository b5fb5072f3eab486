//! What an event is: its identity, what it says of itself, how it was verified.

mod describe;
mod document;
mod id;
mod verdict;
pub(crate) mod words;

pub use describe::{Described, Describer, MAX_KEY_CHARACTERS};
pub use document::Document;
pub use id::{ActionId, EventId, InvalidId};
pub use verdict::{Verdict, Verification};

use bytes::Bytes;

/// Headers that prove or grant something and are never kept with an event, in lower case: the
/// signature, which never expires, and credentials. The secret header of a source is another one.
pub const HEADERS_NOT_KEPT: [&str; 4] =
    ["x-signature", "authorization", "proxy-authorization", "cookie"];

/// An event as it is kept in the log: the door has described it, nothing about it changes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `None` when the event is unmappable.
    pub event_type: Option<String>,
    /// The idempotency key, when there is a valid one and deduplication is on.
    pub key: Option<String>,
    /// `user:<userId>`, `anonymous:<anonymousId>`, or `None`: then the event is a lane of its own.
    pub order_key: Option<String>,
    /// The timestamp as it was sent, never interpreted.
    pub timestamp: Option<String>,
    /// Why nothing can be mapped: not JSON, or without a type.
    pub unmappable: Option<String>,
    /// What the edge found.
    pub verification: Verification,
    /// Position in its batch.
    pub element: u32,
    /// Names in lower case; without signature, credentials and secret headers.
    pub headers: Vec<(String, String)>,
    /// The bytes as received, or rewritten without the redacted values.
    pub body: Bytes,
}
