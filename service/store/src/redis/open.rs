//! Opening: settings, what can go wrong in words for people, and the start of the background tasks.

use std::sync::Arc;

use segment_source_core::source::short_hash;
use tokio::sync::watch;

use super::{Shared, Store, check::Health, connect, reply, target::Target};
use crate::{contract::Clock, fingerprint::Fingerprints};

/// Version of the layout. A store with a higher one is refused.
const FORMAT: u32 = 1;

/// Settings of a store on Redis.
#[derive(Clone)]
pub struct Options {
    /// What the names of all keys and channels begin with: several stores may be on one Redis.
    /// Default: `segment-source:`.
    pub name: String,
    /// This replica: a process with the same name that comes later takes over from this one at once.
    pub replica: String,
    /// Whether there is room, from who looks at it ([`super::check::watch`]); `None`: nobody does.
    pub health: Option<watch::Receiver<Health>>,
    /// Instead of Redis's clock: for tests.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "segment-source:".to_owned(),
            replica: String::new(),
            health: None,
            clock: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, replica, .. } = self;
        f.debug_struct("Options")
            .field("name", name)
            .field("replica", replica)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis does not answer, or refuses.
    #[error("the store in Redis cannot be opened: {0}")]
    Unavailable(String),
    /// Written by a later version of the program.
    #[error(
        "the store in Redis has format {found}, this version reads up to {FORMAT}: start the \
         version that wrote it, or a later one"
    )]
    Newer {
        /// What it has.
        found: u32,
    },
}

impl From<crate::StoreError> for OpenError {
    fn from(error: crate::StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Store {
    /// Opens or creates the store in Redis.
    ///
    /// # Errors
    /// When Redis cannot be reached or refuses, or a later version wrote the store.
    pub async fn open(target: &Target, options: Options) -> Result<Self, OpenError> {
        let Options { name, replica, health, clock } = options;
        let failed = |error| OpenError::from(reply::failed(&error, None));
        let connection = connect::Connection::open(target)
            .await
            .map_err(|trouble| OpenError::Unavailable(trouble.to_string()))?;
        let fingerprints = Fingerprints::new(prepare(&name, &connection).await?);
        let mut holder = [0; 16];
        holder[..8].copy_from_slice(&short_hash(replica.as_bytes()));
        getrandom::fill(&mut holder[8..])
            .map_err(|error| OpenError::Unavailable(error.to_string()))?;
        let shared = Shared::new(name, connection, fingerprints, clock, holder, health);
        let shared = Arc::new(shared);
        let guard = shared.stop.clone().drop_guard();
        let store = Self(shared, Some(Arc::new(guard)));
        for script in store.0.scripts.all() {
            script.load(&store.0.connection).await.map_err(failed)?;
        }
        store.take_over().await?;
        let background = || Self(store.0.clone(), None);
        store.0.tasks.spawn(background().follow_news(target.clone()));
        store.0.tasks.spawn(background().keep_partitions());
        Ok(store)
    }
}

/// Refuses a newer format; a new store gets format and fingerprint key. Its key.
async fn prepare(name: &str, connection: &connect::Connection) -> Result<[u8; 32], OpenError> {
    let failed = |error| OpenError::from(reply::failed(&error, None));
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| OpenError::Unavailable(error.to_string()))?;
    let (format, fingerprint) = (format!("{name}{{p00}}:format"), format!("{name}{{p00}}:key"));
    let mut both = redis::pipe();
    both.cmd("SET").arg(&format).arg(FORMAT).arg("NX").ignore();
    both.cmd("SET").arg(&fingerprint).arg(&key).arg("NX").ignore();
    both.cmd("GET").arg(&format).cmd("GET").arg(&fingerprint);
    let (found, key): (u32, Vec<u8>) =
        both.query_async(&mut connection.clone()).await.map_err(failed)?;
    if found > FORMAT {
        return Err(OpenError::Newer { found });
    }
    let damaged = |_| OpenError::Unavailable("its fingerprint key is damaged".to_owned());
    key.try_into().map_err(damaged)
}
