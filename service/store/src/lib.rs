//! Stores: what an engine must promise ([`contract`]) and the engines that do.

mod contract;
pub mod embedded;

pub use contract::*;
