//! Stores: what an engine must promise (`contract.rs`; all of it is named here) and the engines
//! that do.

mod contract;
pub mod directory;
pub mod embedded;

pub use contract::*;
