//! JSON as Segment means it: numbers keep their text, lone surrogates become U+FFFD, the last of
//! two equal keys wins. Reading and writing; nothing about events.

mod read;
mod value;
mod write;

pub(crate) use read::{MAX_DEPTH, read_members};
pub use read::{ReadError, read};
pub use value::Value;
pub(crate) use write::Quoted;
