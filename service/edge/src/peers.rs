//! The ingests there are.

use std::collections::BTreeMap;

use tonic::transport::Channel;

/// The ingests that may be submitted to now, by a name for people (an address). All of them share
/// one store, so what one of them did not answer may be submitted to any other. One that is taken
/// out gets nothing new and still answers what it has; a name stands for one channel for as long as
/// it is in. A channel should notice dead connections by itself (HTTP/2 keep-alive) and connect
/// again; ingest must take messages of `Settings::body_limit` plus 1 MiB.
pub type Peers = BTreeMap<String, Channel>;
