//! The metrics of the configuration stream, all named `segment_source_configuration_*`.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

const PREFIX: &str = "segment_source_configuration";

/// Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) connected: Gauge<i64, AtomicI64>,
    pub(super) epoch: Gauge<u64, AtomicU64>,
    pub(super) version: Gauge<u64, AtomicU64>,
    pub(super) refused: Gauge<u64, AtomicU64>,
    pub(super) reconnects: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "connected",
            "1 while a stream to the operator is open",
            metrics.connected.clone(),
        );
        registry.register(
            "epoch",
            "The highest epoch of an operator that was seen",
            metrics.epoch.clone(),
        );
        registry.register(
            "version",
            "The newest version the operator has told on the stream",
            metrics.version.clone(),
        );
        registry.register(
            "refused_sources",
            "Sources whose newest configuration this replica cannot use",
            metrics.refused.clone(),
        );
        registry.register(
            "reconnects",
            "Streams to the operator that ended or could not be opened",
            metrics.reconnects.clone(),
        );
        metrics
    }
}
