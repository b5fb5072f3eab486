//! The recipient directory as values: which entries there are (`key`), what is known of one and how
//! writes are merged into it (`record`), how it is kept (`stored`), and what an action changes
//! (`change`). Pure; where entries are kept and who reads them is not known here.
//!
//! # The rule
//!
//! What is known of an entry is what its writes make when they are applied one after the other in
//! the order of their [`Stamp`]s: objects are merged, key by key and at every depth; everything
//! else replaces what was there; a deletion removes all of it. Writes may come in any order and
//! more than once, and the outcome is the same: every value carries the stamp of the write it is
//! from, and a write leaves alone what is newer than itself.

mod change;
mod key;
mod record;
mod stamp;
mod stored;
#[cfg(test)]
mod tests;

pub use change::{Change, MAX_PROPERTIES, Refusal, What, changes, recipients};
pub use key::{InvalidKey, Key, Kind, MAX_ID_CHARACTERS, Recipient};
pub use record::{Effect, Record};
pub use stamp::Stamp;
pub use stored::Damaged;
