//! What is counted about queues. Labels come from fixed sets, never from names.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a settlement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Outcome {
    Ack,
    Retry,
    Reject,
    Extend,
    LeaseLost,
    Invalid,
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    outcome: Outcome,
}

/// The queue service's metrics.
#[derive(Clone)]
pub(super) struct Metrics {
    settlements: Family<OutcomeLabel, Counter>,
    /// Actions given out, redeliveries included.
    pub(super) deliveries: Counter,
    /// Deliveries with an attempt above 1.
    pub(super) redeliveries: Counter,
    /// Consume streams open now.
    pub(super) streams: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            settlements: Family::default(),
            deliveries: Counter::default(),
            redeliveries: Counter::default(),
            streams: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("segment_source_queue");
        registry.register(
            "settlements",
            "Settlements of leases by outcome",
            metrics.settlements.clone(),
        );
        registry.register("deliveries", "Actions leased to consumers", metrics.deliveries.clone());
        registry.register(
            "redeliveries",
            "Actions leased to consumers again after a failed or unknown outcome",
            metrics.redeliveries.clone(),
        );
        registry.register("streams", "Consume streams open now", metrics.streams.clone());
        metrics
    }

    pub(super) fn settled(&self, outcome: Outcome) {
        self.settlements.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
