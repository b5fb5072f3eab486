//! The store as everybody else has it: one of the engines. What its methods promise is said here and
//! nowhere else.

mod again;
mod destination;
mod directory;
mod log;
mod removal;
mod work;

use crate::{contract::Millis, embedded, redis};

/// Where events, actions and directories are: cheap to clone, the same store in every clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a folder of this process.
    Embedded(embedded::Store),
    /// In Redis or Valkey, shared with other processes.
    Redis(redis::Store),
}

/// The same of whichever engine it is.
macro_rules! each {
    ($store:expr, $engine:ident => $same:expr) => {
        match $store {
            Self::Embedded($engine) => $same,
            Self::Redis($engine) => $same,
        }
    };
}
use each;

impl Store {
    /// What its clock says. Whoever compares with times that the store gave out asks this one.
    #[must_use]
    pub fn now(&self) -> Millis {
        each!(self, store => store.now())
    }

    /// Stops taking writes, lets those under way finish, gives open leases back, syncs and closes.
    /// Whatever is asked later is answered `Closing`.
    pub async fn close(&self) {
        each!(self, store => store.close().await);
    }
}

impl From<embedded::Store> for Store {
    fn from(store: embedded::Store) -> Self {
        Self::Embedded(store)
    }
}

impl From<redis::Store> for Store {
    fn from(store: redis::Store) -> Self {
        Self::Redis(store)
    }
}
