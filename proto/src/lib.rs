//! The generated gRPC code, one module per proto package, and nothing else; conversions to and
//! from domain types live in the crates that own those.
#![allow(clippy::all, reason = "generated")]

use std::fmt;

pub mod event {
    pub mod v1 {
        tonic::include_proto!("segmentsource.event.v1");
    }
}
pub mod config {
    pub mod v1 {
        tonic::include_proto!("segmentsource.config.v1");
    }
}
pub mod ingest {
    pub mod v1 {
        tonic::include_proto!("segmentsource.ingest.v1");
    }
}
pub mod directory {
    pub mod v1 {
        tonic::include_proto!("segmentsource.directory.v1");
    }
}
pub mod queue {
    pub mod v1 {
        tonic::include_proto!("segmentsource.queue.v1");
    }
}
pub mod admin {
    pub mod v1 {
        tonic::include_proto!("segmentsource.admin.v1");
    }
}

/// The encoded `FileDescriptorSet` of every package, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl fmt::Debug for config::v1::SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}
