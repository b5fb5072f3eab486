//! Stores: what an engine must promise (`contract.rs`; all of it is named here), the engines that
//! do, and the clock that they are given.

mod clock;
mod contract;
pub mod directory;
pub mod embedded;
pub mod redis;

pub use clock::{SystemClock, system_clock};
pub use contract::*;
