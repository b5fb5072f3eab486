//! The directory destination: what data actions made of users, objects, tenants, subscriptions and
//! audiences. `deliver` carries actions out, with `write` for entries and `end` for what a deletion
//! ends; `service` reads (`list`, `watch`), and `expand` reads for queues. The rules are
//! `segment_source_core::directory`'s, and how entries are kept is the store's.

mod deliver;
mod end;
mod expand;
mod list;
mod present;
mod problem;
mod service;
#[cfg(test)]
mod tests;
mod watch;
mod write;

pub(crate) use deliver::deliver_all;
pub(crate) use expand::{Message, expand};
pub use service::DirectoryService;
