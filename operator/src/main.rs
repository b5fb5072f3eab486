//! The binary of the operator.

mod dirty;
mod lock;
mod name;
mod table;

fn main() {}
