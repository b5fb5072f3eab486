//! segment-source.
fn main() {}
