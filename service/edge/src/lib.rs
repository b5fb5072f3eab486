//! HTTP in, gRPC out. A webhook request is received, proved to come from Segment and handed to
//! ingest; it is answered 202 only when every event in it is durable. What an event means, where
//! configuration comes from and how it is stored are no business of this crate.
//!
//! In the order of a request: [`serve`](Edge::serve) (connections), `receive` (the steps, one by
//! one), `body` (limits and budget), [`LiveSource`] (verification and its latches), `posted`
//! (a verified request on its way), `submit` (waiting for its answer), `line` (where requests and
//! links meet), `pool` (a link for each of the [`Peers`]), `link` (the stream to one ingest). `reply`
//! is the table of every answer.

mod body;
mod bucket;
mod headers;
mod latch;
mod line;
mod link;
mod live;
mod metrics;
mod peers;
mod pool;
mod posted;
mod receive;
mod reply;
mod serve;
mod settings;
mod sources;
mod submit;

pub use live::LiveSource;
pub use peers::Peers;
pub use reply::{Reply, Row};
pub use serve::Edge;
pub use settings::Settings;
pub use sources::{SourceState, Sources};
