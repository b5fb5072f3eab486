//! The ingest role, as the way of an event through it: `submit` takes verified events over gRPC
//! and makes them durable, `plan` renders stored events into actions with the newest
//! configuration, `admin` answers what happened to an event, and [`rehearse`] what would happen to
//! one; `again` runs it again, `retention` lets it go, and `suspension` lets time stand still for it.
//! `source` is the configuration all of them work with. What is kept, and how, is the store's
//! business; what an event or a mapping means is the domain's.

mod admin;
mod again;
mod metrics;
mod plan;
mod rehearse;
mod retention;
mod source;
mod status;
mod submit;
mod suspension;

#[cfg(test)]
mod tests;

pub use admin::AdminService;
pub use plan::Planner;
pub use rehearse::rehearse;
pub use retention::Retention;
pub use source::{SCHEMA_LEVEL, Source, Sources};
pub use submit::IngestService;
pub use suspension::Suspension;

/// The largest gRPC message that is taken, in bytes: one event of 16 MiB (the edge's limit) with
/// its headers.
pub const MAX_MESSAGE: usize = 20 << 20;
