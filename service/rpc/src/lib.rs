//! What every gRPC service of ours shares: what may be granted ([`access`]), who is calling and
//! whether they may ([`caller`]), permission that ends while a call goes on ([`permit`]), and how
//! errors are said ([`problem`]). Where a caller's proof is read from a request, and what a service
//! does, lives elsewhere.

pub mod access;
pub mod caller;
pub mod permit;
pub mod problem;

pub use access::{Access, Clients, Grant, Right, Rights, Token};
pub use caller::{Caller, Session, caller};
pub use permit::Permit;
