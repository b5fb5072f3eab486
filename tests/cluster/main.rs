//! The keeper: holds an API server or a whole cluster for as long as its standard input is open. The
//! tests start it; by hand it gives a cluster to try things on:
//!
//! ```text
//! cargo run -p segment-source-tests --bin cluster -- whole    (Ctrl-C ends it)
//! ```

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use segment_source_tests::kube::{
    keeper::{init, keep_api_server, keep_cluster, keep_inside},
    tools::Version,
};

/// Holds a Kubernetes for tests while its standard input is open; says one line of JSON when it is
/// ready, and takes `stop PART` and `start PART`.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
enum Args {
    /// An API server with etcd and controllers, without nodes.
    ApiServer {
        /// The oldest supported release instead of the newest.
        #[arg(long)]
        oldest: bool,
        /// A flag of the API server, such as `--flag=--v=4`; repeatable.
        #[arg(long = "flag", allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// A cluster with one node on which pods run. Needs root.
    Whole,
    #[command(flatten)]
    Inner(Inner),
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// Process 1 of a whole cluster's namespaces.
    #[command(hide = true)]
    Init {
        /// Of the cluster.
        folder: PathBuf,
    },
    /// What runs a whole cluster, in its namespaces.
    #[command(hide = true)]
    Inside {
        /// Of the cluster.
        folder: PathBuf,
    },
}

// One thread: the parts are killed when the thread ends that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let kept = match Args::parse() {
        Args::ApiServer { oldest, flags } => {
            let version = if oldest { Version::Oldest } else { Version::Newest };
            keep_api_server(version, flags).await.map(|()| ExitCode::SUCCESS)
        }
        Args::Whole => keep_cluster().await,
        Args::Inner(Inner::Init { folder }) => init(&folder),
        Args::Inner(Inner::Inside { folder }) => {
            keep_inside(&folder).await.map(|()| ExitCode::SUCCESS)
        }
    };
    kept.unwrap_or_else(|error| {
        _ = writeln!(std::io::stderr(), "{error:#}");
        ExitCode::FAILURE
    })
}
