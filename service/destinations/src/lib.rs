//! Where actions go. Each kind of destination has a folder of its own; a destination knows the
//! store it takes actions from, and nothing of how they got there.

mod client;
pub mod delivery;
mod destination;
pub mod directory;
mod guard;
mod http;
mod knock;
mod problem;
pub mod queue;

pub use client::{ClientError, HttpClient, client_tls};
pub use destination::{Credential, Delivery, Destination, Destinations, Format, Kind, from_wire};
pub use guard::{Allowed, Guard};
pub use knock::{InvalidKnockRate, KnockRate, KnockRates};
