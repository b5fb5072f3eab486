//! A stand-in for Knock: what it takes is judged by Knock's own OpenAPI document.

mod contract;

pub use contract::{Contract, Taken};
