//! The SegmentSource resource: its types, the reading of manifests, and the pure compiler from a
//! manifest and secret values to the configuration that replicas run on. No IO and no Kubernetes
//! client live here.

// The derive macros write paths of the crate `kube`, which brings a Kubernetes client along. What
// they need of it is kube-core.
extern crate self as kube;
#[doc(hidden)]
pub use kube_derive::KubeSchema;
#[doc(hidden)]
pub mod core {
    pub use kube_core::*;
}

mod action;
#[cfg(test)]
mod admission_tests;
mod compile;
mod crd;
#[cfg(test)]
mod examples_tests;
mod manifest;
mod pattern;
mod problem;
#[cfg(test)]
mod reference;
mod references;
mod schema;
mod spec;
pub mod status;

pub use action::{Action, ActionName, Parameter};
pub use compile::{
    Compiled, DEFAULT_DESTINATION, DIRECTORY_DESTINATION, LookUp, SCHEMA_LEVEL, compile,
    schema_level,
};
pub use crd::{CRD_SCHEMA, SCHEMA_ANNOTATION, crd};
pub use manifest::{Document, Manifest, Reader, Secret, Subject, SyntaxError};
pub use problem::Problem;
pub use references::references;
pub use spec::{
    Access, AccessRight, BatchPolicy, Batches, Delivery, Destination, DirectoryDestination,
    HttpDestination, HttpFormat, Idempotency, IdempotencyMode, KnockDestination, Mapping, Nulls,
    Preprocess, QueueDestination, RateLimit, RequireHeader, Retention, SecretRef, SegmentSource,
    SegmentSourceSpec, Suspend, Verification, VerificationMode,
};
pub use status::SegmentSourceStatus;
