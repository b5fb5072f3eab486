//! The promises of the store contract, each as a test against the public API.

mod accept;
mod again;
mod attempts;
mod directory;
mod holds;
mod lanes;
mod leases;
mod log;
mod model;
mod plan;
mod queues;
mod removal;
