//! Leadership by a Lease: who may write and serve. Deciding is `elector`'s, without IO; here are
//! the requests, and the term that everyone checks before doing what only a leader may do.
//!
//! A term ends by itself at a moment of the monotonic clock, before anyone else can begin one. A
//! process that was stopped and goes on finds its term over, without having to be told.

mod elector;
mod term;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::elector::{Elector, Record, Step};
pub(crate) use self::term::{Leadership, Office};
use crate::metrics::ApiErrors;

/// Which Lease, whose, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) lease: String,
    pub(crate) holder: String,
    pub(crate) duration: Duration,
}

/// Takes part in the election until `stop`, then gives the Lease back.
pub(crate) struct Candidate {
    api: Api<Lease>,
    settings: Settings,
    elector: Elector,
    office: Office,
    errors: ApiErrors,
}

impl Candidate {
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        office: Office,
        errors: ApiErrors,
    ) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        let elector = Elector::new(settings.holder.clone(), settings.duration);
        Self { api, settings, elector, office, errors }
    }

    /// Until `stop`; does IO, and fails never: without an answer the term runs out.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = self.turn().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                // Serving and writing end at that moment by themselves; this is for the log.
                () = self.office.expired() => self.office.leave("the Lease could not be renewed"),
            }
        }
        self.office.leave("this process ends");
        self.release().await;
    }

    /// One look at the Lease, and how long to wait for the next.
    async fn turn(&mut self) -> Duration {
        let patience = self.settings.duration / 3;
        match timeout(patience, self.look()).await {
            Ok(Ok(())) if self.office.is_held() => self.settings.duration / 3,
            Ok(Ok(())) => self.retry(),
            Ok(Err(error)) => {
                self.errors.count("leases");
                warn!("cannot look after Lease `{}`: {error:#}", self.settings.lease);
                self.retry()
            }
            Err(_elapsed) => {
                self.errors.count("leases");
                warn!("the API server did not answer about Lease `{}`", self.settings.lease);
                self.retry()
            }
        }
    }

    fn retry(&self) -> Duration {
        self.settings.duration * 2 / 15
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        // The term is counted from before the request: the others count from after it.
        let begun = Instant::now();
        let found = self.api.get_opt(&self.settings.lease).await?.map(record);
        match self.elector.step(begun, found.as_ref(), first_epoch()) {
            Step::Wait => {
                if let Some(holder) = found.and_then(|it| it.holder) {
                    if self.office.is_held() {
                        self.office.leave("another process took the Lease");
                    }
                    debug!(holder, "another process leads");
                }
                Ok(())
            }
            Step::Hold(wanted) => match self.write(&wanted).await {
                Ok(written) => {
                    let written = record(written);
                    self.elector.wrote(&written);
                    self.office.hold(written.transitions, begun + self.elector.term());
                    Ok(())
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    debug!("another process was faster");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn write(&self, record: &Record) -> kube::Result<Lease> {
        let object = self.object(record);
        match record.version {
            None => self.api.create(&PostParams::default(), &object).await,
            Some(_) => {
                self.api.replace(&self.settings.lease, &PostParams::default(), &object).await
            }
        }
    }

    fn object(&self, record: &Record) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let seconds = i32::try_from(record.duration.as_secs().max(1)).unwrap_or(i32::MAX);
        let acquired = record.acquired.unwrap_or(now.0);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.lease.clone()),
                namespace: Some(self.settings.namespace.clone()),
                resource_version: record.version.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(record.holder.clone().unwrap_or_default()),
                lease_duration_seconds: Some(seconds),
                lease_transitions: Some(i32::try_from(record.transitions).unwrap_or(i32::MAX)),
                acquire_time: Some(MicroTime(acquired)),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// So that another can take it at once. Failing is no harm: it runs out.
    async fn release(&mut self) {
        let Some(record) = self.elector.release() else { return };
        let written = timeout(self.settings.duration / 3, self.write(&record)).await;
        match written.context("no answer").and_then(|it| it.map_err(anyhow::Error::from)) {
            Ok(_) => info!("gave Lease `{}` back", self.settings.lease),
            Err(error) => warn!("cannot give Lease `{}` back: {error:#}", self.settings.lease),
        }
    }
}

fn record(lease: Lease) -> Record {
    let spec = lease.spec.unwrap_or_default();
    Record {
        version: lease.metadata.resource_version,
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        transitions: spec.lease_transitions.and_then(|it| u64::try_from(it).ok()).unwrap_or(0),
        duration: Duration::from_secs(
            spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok()).unwrap_or(1).max(1),
        ),
        acquired: spec.acquire_time.map(|it| it.0),
    }
}

/// Minutes since 2020: more than a Lease was ever taken.
fn first_epoch() -> u64 {
    const START: i64 = 1_577_836_800;
    u64::try_from((jiff::Timestamp::now().as_second() - START) / 60).unwrap_or(0)
}
