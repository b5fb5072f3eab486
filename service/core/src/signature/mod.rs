//! Proof that a request comes from Segment: HMAC-SHA1 over the raw bytes, lower-case hex in
//! `X-Signature`. Nothing about HTTP, statuses or configuration formats lives here.
//!
//! The order of steps is held by types: a [`ReceivedRequest`] has bytes but gives out no events;
//! only [`ReceivedRequest::verify`] turns it into a [`VerifiedRequest`], and only that has
//! [`VerifiedRequest::elements`]. In [`Mode::Observe`] every request passes, and the verdict says
//! what was found.
//!
//! Batches. Segment signs the bytes of a batch's first element only, so whoever saw one signed
//! event can put anything behind it. That is why [`Batches::Reject`] is the normal policy and
//! [`Batches::FirstElement`] asks for a second secret in a header.

mod elements;
mod explain;
mod secret;
mod verify;

pub use explain::{Hint, explain};
pub use secret::{MAX_SECRETS, RequiredHeader, Secret, Secrets, Signature, TooManySecrets};
pub use verify::{
    Batches, Element, Mode, ReceivedRequest, Refusal, Refused, Rules, SignatureHeader,
    VerifiedRequest,
};
