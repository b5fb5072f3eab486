//! The domain: what a Segment request, an event, a path, an expression, a mapping and an action
//! are. No IO, no clock, no async and no wire types live here.

pub mod directory;
pub mod event;
pub mod expression;
pub mod json;
pub mod mapping;
pub mod path;
pub mod signature;
pub mod source;
