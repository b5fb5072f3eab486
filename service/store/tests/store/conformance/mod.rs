//! The promises of the store contract, each as a test against the public API.

mod accept;
mod lanes;
mod leases;
mod log;
mod model;
mod plan;
