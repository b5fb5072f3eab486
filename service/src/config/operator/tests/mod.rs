//! What the operator tells, and what becomes of it: the state machine by whole values (`told`), the
//! cache on a disk (`cache`), and everything over real sockets (`stream`).

mod cache;
mod server;
mod stream;
mod told;
