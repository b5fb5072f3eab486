//! A folder of its own for each test: manifests in `config`, the store in `store`, or with STORE=redis in
//! a Redis of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    manifest::{documents, signing_secret, source},
    redis::{Cluster, Redis},
    server::{Launch, Server},
};

/// The folder; removed at the end of the test.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    redis: OnceLock<Servers>,
}

/// What a store in Redis is on.
#[derive(Debug)]
enum Servers {
    Single(Redis),
    Cluster(Cluster),
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// An empty one inside a folder that is there.
    ///
    /// # Panics
    /// When there can be no temporary folder in it.
    #[must_use]
    pub fn inside(parent: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("segment-source-").tempdir_in(parent);
        let folder = folder.expect("a temporary folder");
        let site = Self { folder, redis: OnceLock::new() };
        fs::create_dir(site.config()).expect("a folder for manifests");
        site
    }

    /// One with the signing secret and the source `web`.
    #[must_use]
    pub fn with_web(spec: Value) -> Self {
        let site = Self::new();
        site.write("secret.yaml", &[signing_secret()]);
        site.write("web.yaml", &[source("web", spec)]);
        site
    }

    /// Where everything lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of manifests.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// The store's folder; the program makes it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file of manifests, in one step as editors and Kubernetes do.
    pub fn write(&self, file: &str, manifests: &[Value]) {
        self.write_text(file, &documents(manifests));
    }

    /// Writes a file as it is.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_text(&self, file: &str, text: &str) {
        let temporary = self.path().join(format!("{file}.new"));
        fs::write(&temporary, text).expect("the manifest is written");
        fs::rename(&temporary, self.config().join(file)).expect("the manifest is put in place");
    }

    /// Removes a file of manifests.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.config().join(file)).expect("the manifest is removed");
    }

    /// How to start the program on this folder, `--role all` unless changed.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let launch = Launch::new(&self.config(), &self.store());
        let servers = match std::env::var("STORE").as_deref() {
            Ok("redis") => self.redis.get_or_init(|| Servers::Single(Redis::start_apart())),
            Ok("cluster") => self.redis.get_or_init(|| Servers::Cluster(Cluster::start_apart())),
            _ => return launch,
        };
        let url = match servers {
            Servers::Single(redis) => redis.url(),
            Servers::Cluster(cluster) => cluster.url(),
        };
        self.launch_on(&url)
    }

    /// As [`Site::launch`], with its store in the Redis at this address.
    #[must_use]
    pub fn launch_on(&self, url: &str) -> Launch {
        let launch = Launch::new(&self.config(), &self.store());
        launch.flag("store", url).cache_in(self.path().join("cache"))
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> Server {
        self.launch().start().await
    }
}
