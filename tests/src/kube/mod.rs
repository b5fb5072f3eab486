//! A real Kubernetes for tests: [`api::ApiServer`] is an API server with etcd and controllers but no
//! node, [`cluster::Cluster`] a whole cluster whose pods run. Neither knows segment-source.
//!
//! Both are held by a process of their own, the keeper (`tests/cluster`), which ends everything when
//! the test process ends, however it ends: it waits for the end of its standard input. What it runs
//! is in [`control`] and [`node`], how it is spoken to in [`keeper`].

pub mod api;
pub mod audit;
pub mod cluster;
pub mod control;
pub mod etcd;
pub mod gate;
pub mod image;
pub mod keeper;
pub mod keys;
pub mod netns;
pub mod node;
pub mod part;
pub mod tools;
