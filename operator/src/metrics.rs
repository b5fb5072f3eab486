//! The metrics of the operator, all named `segment_source_operator_*`. Label values come from
//! fixed sets; names of objects are never among them. Gauges are read when they are asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{lease::Leadership, lock::lock, memory::Memory, table::Table};

const PREFIX: &str = "segment_source_operator";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok` or `error`.
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    /// Plural name of the kind that was asked for.
    resource: &'static str,
}

/// Requests to the API server that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiErrors(Family<Resource, Counter>);

impl ApiErrors {
    pub(crate) fn count(&self, resource: &'static str) {
        self.0.get_or_create(&Resource { resource }).inc();
    }
}

/// When certificates run out, in seconds since 1970, by what they are of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiries(Arc<Mutex<BTreeMap<String, i64>>>);

impl Expiries {
    /// Of one certificate: `ca`, or its roles.
    pub(crate) fn set(&self, certificate: &str, expires: i64) {
        lock(&self.0).insert(certificate.to_owned(), expires);
    }
}

/// What the operator counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    pub(crate) nacks: Counter,
    pub(crate) status_writes: Counter,
    pub(crate) api_errors: ApiErrors,
    pub(crate) expiries: Expiries,
}

impl Metrics {
    pub(crate) fn register(
        registry: &mut Registry,
        leadership: Leadership,
        table: Arc<Table>,
        memory: Arc<Memory>,
    ) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Histogram::new(exponential_buckets(0.0005, 4.0, 9)),
            nacks: Counter::default(),
            status_writes: Counter::default(),
            api_errors: ApiErrors::default(),
            expiries: Expiries::default(),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("reconciles", "Looks at a source", metrics.reconciles.clone());
        registry.register(
            "reconcile_duration_seconds",
            "How long a look at a source took",
            metrics.duration.clone(),
        );
        registry.register(
            "nacks",
            "States of sources that replicas refused",
            metrics.nacks.clone(),
        );
        registry.register(
            "status_writes",
            "Statuses of sources written",
            metrics.status_writes.clone(),
        );
        registry.register(
            "api_errors",
            "Requests to the API server that failed, by resource",
            metrics.api_errors.0.clone(),
        );
        let expiries = metrics.expiries.clone();
        registry.register_collector(Box::new(Gauges { leadership, table, memory, expiries }));
        metrics
    }

    pub(crate) fn reconciled(&self, ok: bool, took: Duration) {
        let outcome = if ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }
}

/// What is read when it is asked for.
#[derive(Debug)]
struct Gauges {
    leadership: Leadership,
    table: Arc<Table>,
    memory: Arc<Memory>,
    expiries: Expiries,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let leading = i64::from(self.leadership.leads());
        one(&mut encoder, "leading", "Whether this process leads", leading)?;

        let states = self.memory.states();
        let not_ready = states.iter().filter(|(state, _)| **state != "ready").map(|(_, n)| n).sum();
        let help = "Sources, by the reason of their Ready condition";
        labelled(&mut encoder, "sources", help, "state", &states)?;
        one(&mut encoder, "sources_not_ready", "Sources that are not ready", not_ready)?;

        let numbers = self.table.numbers();
        let help = "Connected replicas, by what they do";
        labelled(&mut encoder, "replicas", help, "roles", &numbers.replicas)?;
        let lag = i64::try_from(numbers.lag).unwrap_or(i64::MAX);
        let help = "Versions that the replica which is furthest behind has not answered";
        one(&mut encoder, "replica_lag_versions", help, lag)?;
        let refusals = i64::try_from(numbers.refusals).unwrap_or(i64::MAX);
        one(&mut encoder, "refusals", "Refusals of replicas that stand", refusals)?;

        let unread = i64::try_from(numbers.unread).unwrap_or(i64::MAX);
        let help = "Namespaces that are to be watched and cannot be read";
        one(&mut encoder, "unread_namespaces", help, unread)?;

        let now = jiff::Timestamp::now().as_second();
        // Who does not lead hears nothing of a renewal, so that what it knew grows old.
        let expiries = if leading == 1 { lock(&self.expiries.0).clone() } else { BTreeMap::new() };
        let left: BTreeMap<&str, i64> =
            expiries.iter().map(|(name, at)| (name.as_str(), at - now)).collect();
        let help = "How long certificates that this operator makes are still valid";
        labelled(&mut encoder, "certificate_expiry_seconds", help, "certificate", &left)
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn labelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &BTreeMap<&str, i64>,
) -> Result<(), std::fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let kind = ConstGauge::new(0i64).metric_type();
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    for (value, number) in values {
        ConstGauge::new(*number).encode(encoder.encode_family(&[(label, *value)])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use prometheus_client::{encoding::text::encode, registry::Registry};
    use tokio::time::Instant;

    use super::Metrics;
    use crate::{lease::Office, memory::Memory, table::Table};

    #[tokio::test]
    async fn only_a_leader_says_when_certificates_run_out() {
        let (office, leadership) = Office::new();
        let mut registry = Registry::default();
        let table = Arc::new(Table::new(Arc::default()));
        let metrics = Metrics::register(&mut registry, leadership, table, Arc::<Memory>::default());
        let said = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.contains("segment_source_operator_certificate_expiry_seconds{certificate=\"ca\"}")
        };
        metrics.expiries.set("ca", 7);
        assert!(!said());
        office.hold(1, Instant::now() + Duration::from_secs(600));
        assert!(said());
        office.leave("test");
        assert!(!said());
    }
}
