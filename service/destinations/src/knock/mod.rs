//! Knock's HTTP API: which calls an action becomes, and what the answers mean. Pure; calls are sent,
//! paced and repeated by `delivery`. Facts: Knock's API reference and OpenAPI document of August
//! 2026.

mod call;
mod judge;
mod rates;

pub(crate) use call::{Call, Tier, calls};
pub(crate) use judge::{CODES, judge};
pub use rates::{InvalidKnockRate, KnockRate, KnockRates};
