//! What [`super::Store`] offers, by topic. Nothing is decided here: what needs no order is done, the
//! rest is asked of the writer, and reads go to threads that may block.

mod again;
mod destination;
mod directory;
mod log;
mod removal;
mod work;
