//! destinations.
