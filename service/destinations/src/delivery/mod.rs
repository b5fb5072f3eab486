//! The delivery engine: what takes actions from the store for destinations that are pushed to, has
//! them delivered, and settles what became of them. How a kind delivers lives in its own folder.

pub(crate) mod outcome;
mod retry_after;

pub(crate) use outcome::{Outcome, code};
pub(crate) use retry_after::retry_after;
