//! Which partitions are this process's, and what an owner does for them by itself. What only an owner
//! may do is checked by the scripts.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::time::{MissedTickBehavior, interval};

use super::{Args, PARTITIONS, Store};
use crate::contract::StoreError;

/// For how long a partition is owned, and a process counted, after it was last heard of.
const TERM: Duration = Duration::from_secs(10);
/// Owners renew that often: a renewal may fail several times.
const BEAT: Duration = Duration::from_secs(1);
/// Less than [`TERM`] for itself, so that it stops before another begins.
const SURE: Duration = Duration::from_secs(8);
/// So often an owner looks for events to plan that it was not told of: who accepted them may have ended
/// before that.
const LOOK: Duration = Duration::from_secs(30);
/// Claims that one call of the sweep looks at, unless a bucket has more: nobody else is served meanwhile.
const SWEPT_CLAIMS: u64 = 3200;
/// And buckets, of which most may be empty.
const SWEPT_BUCKETS: u64 = 64;
/// In at most so many beats all buckets of a generation are looked at; what is over is kept no longer than
/// that.
const ROUND: u64 = 3600;

/// Bytes of a holder's name that are its replica's.
const REPLICA: usize = 8;

impl Store {
    /// Keeps its share of the partitions until the store is closed.
    pub(super) async fn keep_partitions(self) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = self.0.release_bell.notified() => {
                    // It is logged, and tried again with the next beat.
                    let _ = self.send_released().await;
                    continue;
                }
                () = self.0.stop.cancelled() => return,
            }
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                (0..PARTITIONS).for_each(|partition| self.0.may_be_unseen(partition));
            }
            let served = async {
                self.share().await?;
                self.send_released().await?;
                let own = (0..PARTITIONS).filter(|partition| self.0.owns_partition(*partition));
                try_join_all(own.map(|partition| self.serve(partition))).await
            };
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::warn!(%error, "partitions cannot be looked after");
                },
                () = self.0.stop.cancelled() => return,
            }
        }
    }

    /// Takes the partitions that are this process's when all divide them evenly, and leaves the others. Looks
    /// for what is to be planned in those it has.
    pub(super) async fn share(&self) -> Result<(), StoreError> {
        let members = self.members(TERM, &[]).await?;
        let count = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
        let mine = members.iter().position(|member| member[..] == self.0.holder);
        let mine = mine.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        // All at once: a server that syncs each of them slowly would take longer than a term.
        let sharing = (0..PARTITIONS).map(async |partition| {
            if partition % count == mine {
                self.own(partition).await
            } else if self.0.owns_partition(partition) {
                self.0.set_owned(partition, None);
                self.disown(partition, &self.0.holder).await
            } else {
                Ok(())
            }
        });
        let shared = try_join_all(sharing).await;
        let own = (0..PARTITIONS).filter(|partition| self.0.owns_partition(*partition));
        join_all(own.map(|partition| self.look_for_unplanned(partition))).await;
        shared.map(drop)
    }

    /// The processes there are. Without a term this one is none of them any more, and those are none whose
    /// names begin as `gone` says.
    async fn members(&self, term: Duration, gone: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let key = format!("{}members", self.0.name);
        let args = Args::default().arg(&self.0.holder).arg(millis(term)).arg(gone);
        self.run(&self.scripts().members, &[key.into_bytes()], &args).await
    }

    async fn own(&self, partition: u64) -> Result<(), StoreError> {
        let args = self.args().arg(&self.0.holder).arg(millis(TERM));
        let owned: u8 = self.call(&self.scripts().own, partition, &args).await?;
        if self.0.set_owned(partition, (owned > 0).then_some(SURE)) {
            self.0.may_be_unseen(partition);
            // Whoever waits to push finds something now.
            self.0.queues.ring_all();
        }
        Ok(())
    }

    /// The partition is nobody's, if the owner's name begins so.
    async fn disown(&self, partition: u64, holder: &[u8]) -> Result<(), StoreError> {
        let (script, key) = (&self.scripts().disown, self.0.prefix(partition));
        self.run::<u8>(script, &[key], &self.args().arg(holder)).await.map(drop)
    }

    /// Ends leases whose time is up, and sweeps claims that are over.
    async fn serve(&self, partition: u64) -> Result<(), StoreError> {
        while self.call(&self.scripts().tick, partition, &self.args()).await? {}
        let mut swept = 0;
        loop {
            let args = self.args().arg(SWEPT_CLAIMS).arg(SWEPT_BUCKETS);
            let (some, buckets): (u64, u64) =
                self.call(&self.scripts().sweep, partition, &args).await?;
            swept += some;
            if swept * ROUND >= buckets {
                return Ok(());
            }
        }
    }

    /// Takes over from a process of this replica that is gone. What it had is given back; attempts cut
    /// short by a crash are not counted.
    pub(super) async fn take_over(&self) -> Result<(), StoreError> {
        let replica = &self.0.holder[..REPLICA];
        self.void(replica, "", "").await?;
        self.members(TERM, replica).await?;
        for partition in 0..PARTITIONS {
            self.disown(partition, replica).await?;
        }
        self.share().await
    }

    async fn void(&self, holder: &[u8], code: &str, words: &str) -> Result<(), StoreError> {
        let args = self.args().arg(holder).arg(code).arg(words);
        for partition in 0..PARTITIONS {
            let key = self.0.prefix(partition);
            let _: u8 = self.run(&self.scripts().void, &[key], &args).await?;
        }
        Ok(())
    }

    /// Gives leases and partitions back.
    pub(super) async fn leave(&self) {
        let words = "the program was stopped while a consumer had it";
        let left = async {
            self.void(&self.0.holder, "closing", words).await?;
            for partition in 0..PARTITIONS {
                if self.0.owns_partition(partition) {
                    self.disown(partition, &self.0.holder).await?;
                }
            }
            self.members(Duration::ZERO, &[]).await.map(drop)
        };
        if let Err(error) = left.await {
            tracing::warn!(%error, "what this process had in Redis could not be given back; it ends by itself");
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
