//! Opening the store, wherever it is.

use anyhow::{Context as _, bail};
use segment_source_store::{
    Store, embedded,
    redis::{
        self,
        check::{self, Code, Finding, gather},
        connect::Connection,
        target::{StoreAt, Target},
    },
};
use tokio::task::spawn_blocking;

use super::{Parts, Stage};
use crate::args::Serve;

impl Parts {
    pub(super) async fn open_store(&mut self, args: &Serve) -> anyhow::Result<Store> {
        match args.store.resolve()? {
            StoreAt::Folder(folder) => {
                let options = embedded::Options::default();
                let (time, passed) = (self.clock.clock(), self.clock.stopwatch());
                // Opening reads the journal, which may take a moment and blocks.
                let open = move || embedded::Store::open_with(&folder, options, time, passed);
                let store =
                    spawn_blocking(open).await?.context("cannot open the store (--store)")?;
                // What is due is on disk by the time of before.
                let newest = store.newest().context("cannot read the store (--store)")?;
                self.clock.goes_on_from(newest);
                Ok(store.into())
            }
            StoreAt::Redis(target) => {
                let opened = self.open_redis(&target, args.replica.clone()).await;
                opened.with_context(|| format!("cannot open the store at {target} (--store)"))
            }
        }
    }

    /// Refuses a Redis that would lose what it is given, and looks at it from then on.
    async fn open_redis(&mut self, target: &Target, replica: String) -> anyhow::Result<Store> {
        let mut connection = Connection::open(target).await?;
        let clock = self.clock.clock();
        let facts = gather(&mut connection, target, &clock).await?;
        if let Some(Finding { wrong, change, .. }) = check::judge(&facts).iter().find(refused) {
            bail!("{wrong}; {change} (`segment-source doctor` tells all of it)");
        }
        let metrics = check::Metrics::register(&mut self.registry);
        let (health, watching) =
            check::watch(connection, target.clone(), clock, metrics, &facts, check::INTERVAL);
        let stop = self.tasks.stop_of(Stage::Store);
        self.tasks.spawn(Stage::Store, "the look at Redis", async move {
            tokio::select! {
                () = watching => {}
                () = stop.cancelled() => {}
            }
            Ok(())
        });
        let options = redis::Options { replica, health: Some(health), ..redis::Options::default() };
        Ok(redis::Store::open(target, options).await?.into())
    }
}

/// What the program does not begin with. The rest is said, and may heal while it runs.
fn refused(finding: &&Finding) -> bool {
    let codes = [Code::Version, Code::Replica, Code::ClusterAddress, Code::Eviction];
    codes.contains(&finding.code) && finding.severity == check::Severity::Error
}
