//! Composition: the command line, and the wiring of roles into one process. What a role does lives
//! in its own crate.

pub mod args;
pub mod cli;
pub mod config;
pub mod serve;
