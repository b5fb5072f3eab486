//! Whether a Redis is set up so that it keeps what it is given.
