//! The directory destination.

use segment_source_core::source::SourceId;
use segment_source_store::{Leased, embedded::Store};

use crate::delivery::Outcome;

/// Carries out actions of one source, in this order; an outcome for each.
#[expect(clippy::unused_async, reason = "replaced by the real one")]
pub(crate) async fn deliver_all(_: &Store, _: &SourceId, leases: &[Leased]) -> Vec<Outcome> {
    let dead = |_| Outcome::Dead { code: "not_for_directory", message: String::new() };
    leases.iter().map(dead).collect()
}
