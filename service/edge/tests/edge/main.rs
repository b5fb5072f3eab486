//! The edge between real sockets: HTTP in, a gRPC server of the ingest contract out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod client;
mod drain;
mod ingest;
mod limits;
mod link;
mod pool;
mod rig;
