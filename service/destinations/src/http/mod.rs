//! The http destination: actions, or the events themselves, are posted to an endpoint. Here is what
//! is posted and what the answers mean, both pure; requests are sent, paced and repeated by
//! `delivery`.

mod envelope;
mod judge;
mod request;
mod signing;

pub(crate) use judge::judge;
pub(crate) use request::{Post, request};
