//! Where actions go. Each kind of destination has a folder of its own; a destination knows the
//! store it takes actions from, and nothing of how they got there.

mod destination;
pub mod queue;

pub use destination::{Credential, Delivery, Destination, Destinations, Format, Kind, from_wire};
