//! A stand-in for Knock: what it takes is judged by Knock's own OpenAPI document.

mod contract;
mod scene;
mod standin;

pub use contract::{Contract, Taken};
pub use scene::{Scene, spec, twelve};
pub use standin::{Fate, KEY, Knock};
