//! The store on Redis or Valkey: where it is (`target`), how it is reached (`connect`), and whether
//! it is set up so that it keeps what it is given (`check`).

pub mod check;
pub mod connect;
pub mod target;
