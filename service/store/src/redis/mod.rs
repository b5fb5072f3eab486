//! The store on Redis or Valkey, single or Cluster, shared by as many processes as there are.
//!
//! # The story of the data
//!
//! **Partitions.** A source lives in one of 16 partitions, by its hash; all keys of a partition share a
//! hash tag, so they are on one master. Each step is one script on one partition (only accepting is one on
//! several, but not in a Cluster): it takes place as a whole or not at all, by Redis's own clock. What
//! scripts know of events and actions is their ids, sizes and states; the rest is opaque bytes. Layouts and
//! steps are described in `lua/`, beginning with `prelude.lua`.
//!
//! **Claims.** Fingerprints of keys are packed into small hashes, 9 bytes each with 7 bytes that lead to
//! the original and its window. Whether a copy is the same submission again says the receipt that the
//! original's entry begins with.
//!
//! **The log** is a stream for each source, whose ids are the events'. What is erased leaves the stream
//! for a sorted set that is read together with it.
//!
//! **Leases** are in Redis too, with the process that has given them out: any process settles what any
//! other has given, and a process that comes back after a crash gives back at once what it had.
//!
//! **Owners.** Each partition belongs to one process at a time, for some seconds that it renews; it
//! plans, pushes, ends leases and sweeps. A script that only an owner may run compares the name, so a
//! process that was stopped for longer writes nothing when it goes on. Processes divide partitions
//! evenly among those that are there. Accepting, and taking from and settling for queues, is open to all.
//!
//! **News** of what a script did are published by it, on a sharded channel of the partition: `q` and a
//! queue, `a`, who accepted and the names of sources that got entries, `d` and a source. Whoever missed
//! something looks for himself; owners do so every 30 seconds besides.
//!
//! **Failure.** After an error nothing is known of what happened, as with every store; asking again is
//! safe.

mod accept;
mod again;
pub mod check;
pub mod connect;
mod destination;
mod directory;
mod lease;
mod log;
mod news;
mod open;
mod owner;
mod page;
mod plan;
mod removal;
mod reply;
mod script;
mod shared;
pub mod target;
mod windows;

use std::sync::{Arc, atomic::Ordering};

use redis::{FromRedisValue, RedisResult};
use segment_source_core::source::SourceHash;
use tokio_util::sync::DropGuard;

pub use self::open::{OpenError, Options};
use self::{
    script::{Args, Script, Scripts},
    shared::Shared,
};
use crate::contract::{Millis, StoreError};

/// A store on Redis: cheap to clone. What was answered is as durable as Redis is set up to make it. With
/// the last clone its background tasks end, which have clones without the guard.
#[derive(Clone)]
pub struct Store(
    Arc<Shared>,
    #[expect(dead_code, reason = "what counts is when it is dropped")] Option<Arc<DropGuard>>,
);

/// So many; part of the layout.
const PARTITIONS: u64 = 16;

impl Store {
    pub(crate) fn now(&self) -> Millis {
        self.0.now()
    }

    /// Gives open leases and partitions back.
    pub(crate) async fn close(&self) {
        if self.0.closed.swap(true, Ordering::SeqCst) {
            self.0.tasks.wait().await;
            return;
        }
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.leave().await;
        self.0.ring_all();
    }

    fn scripts(&self) -> &Scripts {
        &self.0.scripts
    }

    /// Arguments begin with the time.
    fn args(&self) -> Args {
        Args::default().arg(self.0.clock.as_ref().map_or(0, |clock| clock()))
    }

    /// Runs a script in a partition.
    async fn call<T: FromRedisValue>(
        &self,
        script: &Script,
        partition: u64,
        args: &Args,
    ) -> Result<T, StoreError> {
        self.call_in(script, &[partition], args).await
    }

    /// As [`Store::call`], in several partitions: never in a cluster, whose scripts have keys of one slot.
    async fn call_in<T: FromRedisValue>(
        &self,
        script: &Script,
        partitions: &[u64],
        args: &Args,
    ) -> Result<T, StoreError> {
        self.0.open()?;
        let keys: Vec<_> = partitions.iter().map(|it| self.0.prefix(*it)).collect();
        self.run(script, &keys, args).await
    }

    /// Runs a script, also while the store is being closed.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[Vec<u8>],
        args: &Args,
    ) -> Result<T, StoreError> {
        self.answer(script.call(&self.0.connection, keys, args).await)
    }

    /// Runs one command.
    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        self.0.open()?;
        self.answer(command.query_async(&mut self.0.connection.clone()).await)
    }

    fn answer<T>(&self, answer: RedisResult<T>) -> Result<T, StoreError> {
        answer.map_err(|error| reply::failed(&error, self.0.full()))
    }

    /// The name of a key of a source's partition.
    fn key(&self, source: SourceHash, name: &str) -> Vec<u8> {
        [&*self.0.prefix(partition(source)), name.as_bytes()].concat()
    }

    /// The name of a key of a source's own.
    fn key_of(&self, source: SourceHash, name: &str) -> Vec<u8> {
        [&*self.0.prefix(partition(source)), name.as_bytes(), &source.0].concat()
    }
}

fn partition(source: SourceHash) -> u64 {
    u64::from_be_bytes(source.0) % PARTITIONS
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.0.name).finish()
    }
}
