//! The metrics of the ingest role, all named `segment_source_ingest_*`. Label values come from
//! fixed sets; names of sources, events or mappings are never among them.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

const PREFIX: &str = "segment_source_ingest";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    /// `unavailable`, `full`, `draining`, `invalid` or `permission_denied`.
    reason: &'static str,
}

/// What accepting events counts.
#[derive(Clone, Debug)]
pub(crate) struct SubmitMetrics {
    pub(crate) accepted: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) unmappable: Counter,
    pub(crate) unknown_source: Counter,
    failures: Family<FailureLabels, Counter>,
    batch_size: Histogram,
}

impl SubmitMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            duplicates: Counter::default(),
            unmappable: Counter::default(),
            unknown_source: Counter::default(),
            failures: Family::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "accepted",
            "New events made durable, unmappable ones included",
            metrics.accepted.clone(),
        );
        registry.register(
            "duplicates",
            "Repeats of an event inside its idempotency window",
            metrics.duplicates.clone(),
        );
        registry.register(
            "unmappable",
            "Accepted events that no mapping can match: not JSON or without a type",
            metrics.unmappable.clone(),
        );
        registry.register(
            "unknown_source",
            "Submissions refused because their source is not configured",
            metrics.unknown_source.clone(),
        );
        registry.register(
            "failures",
            "Batches that were not stored, by reason",
            metrics.failures.clone(),
        );
        registry.register("batch_size", "Submissions per batch", metrics.batch_size.clone());
        metrics
    }

    pub(crate) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { reason }).inc();
    }

    pub(crate) fn batch(&self, submissions: usize) {
        // At most 256, so nothing is lost.
        self.batch_size.observe(submissions as f64);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlannedLabels {
    action_type: &'static str,
    /// `rendered` or `failed`.
    outcome: &'static str,
}

/// What planning counts.
#[derive(Clone, Debug)]
pub(crate) struct PlanMetrics {
    pub(crate) events: Counter,
    pub(crate) retries: Counter,
    /// Sources whose events wait for the configuration.
    pub(crate) parked: Gauge,
    actions: Family<PlannedLabels, Counter>,
    delay: Histogram,
}

impl PlanMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Counter::default(),
            retries: Counter::default(),
            parked: Gauge::default(),
            actions: Family::default(),
            // 1 ms to about 4.5 h.
            delay: Histogram::new(exponential_buckets(0.001, 4.0, 13)),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("planned_events", "Events planned", metrics.events.clone());
        registry.register(
            "planned_actions",
            "Actions planned, by type and by whether they could be rendered",
            metrics.actions.clone(),
        );
        registry.register(
            "planning_retries",
            "Plans that were put off because the store failed",
            metrics.retries.clone(),
        );
        registry.register(
            "parked_sources",
            "Sources whose events wait: removed, not loaded, or delivery suspended",
            metrics.parked.clone(),
        );
        registry.register(
            "planning_delay_seconds",
            "From acceptance to plan, of the oldest event of each planned batch",
            metrics.delay.clone(),
        );
        metrics
    }

    pub(crate) fn action(&self, action_type: &'static str, rendered: bool) {
        let outcome = if rendered { "rendered" } else { "failed" };
        self.actions.get_or_create(&PlannedLabels { action_type, outcome }).inc();
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.delay.observe(delay.as_secs_f64());
    }
}
