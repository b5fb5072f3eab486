//! Stores: what an engine must promise (`contract.rs`; all of it is named here), the engines that
//! do, and the clock that they are given.

mod bells;
mod clock;
mod contract;
pub mod directory;
pub mod embedded;
mod fault;
mod fingerprint;
mod holds;
mod memory;
mod records;
pub mod redis;
mod store;

pub use clock::{SystemClock, system_clock};
pub use contract::*;
pub use store::Store;
