//! What is counted about deliveries. Labels come from fixed sets, never from names.

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

use super::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    kind: &'static str,
    outcome: &'static str,
}

/// The engine's metrics.
#[derive(Clone)]
pub(super) struct Metrics {
    attempts: Family<OutcomeLabel, Counter>,
    duration: Family<KindLabel, Histogram, fn() -> Histogram>,
    in_flight: Family<KindLabel, Gauge>,
    deferred: Family<KindLabel, Counter>,
    open: Family<KindLabel, Gauge>,
    held: Family<KindLabel, Gauge>,
    unresolved: Family<KindLabel, Gauge>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = Self {
            attempts: Family::default(),
            duration: Family::new_with_constructor(histogram),
            in_flight: Family::default(),
            deferred: Family::default(),
            open: Family::default(),
            held: Family::default(),
            unresolved: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("segment_source_delivery");
        registry.register("attempts", "Attempts that ended, by outcome", metrics.attempts.clone());
        registry.register(
            "attempt_duration_seconds",
            "How long attempts took",
            metrics.duration.clone(),
        );
        registry.register("in_flight", "Actions under way now", metrics.in_flight.clone());
        registry.register(
            "deferred",
            "Actions that had to wait for the pace of calls",
            metrics.deferred.clone(),
        );
        registry.register(
            "open_breakers",
            "Destinations that are down and only asked now and then",
            metrics.open.clone(),
        );
        registry.register(
            "held",
            "Destinations that are held, because they refuse the credential or by hand",
            metrics.held.clone(),
        );
        registry.register(
            "unresolved",
            "Destinations whose credential is missing",
            metrics.unresolved.clone(),
        );
        metrics
    }

    pub(super) fn attempted(&self, kind: &'static str, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Done { .. } => "done",
            Outcome::Retry { .. } => "retry",
            Outcome::Refused { .. } => "refused",
            Outcome::Dead { .. } => "dead",
        };
        self.attempts.get_or_create(&OutcomeLabel { kind, outcome }).inc();
        self.duration.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    pub(super) fn deferred(&self, kind: &'static str) {
        self.deferred.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn of_worker(&self, kind: &'static str) -> Flags {
        let label = KindLabel { kind };
        let gauge = |family: &Family<KindLabel, Gauge>| family.get_or_create_owned(&label);
        Flags {
            in_flight: Share::new(gauge(&self.in_flight)),
            open: Share::new(gauge(&self.open)),
            held: Share::new(gauge(&self.held)),
            unresolved: Share::new(gauge(&self.unresolved)),
        }
    }
}

/// What one destination adds to the gauges of its kind; taken off when it is dropped.
pub(super) struct Flags {
    pub(super) in_flight: Share,
    pub(super) open: Share,
    pub(super) held: Share,
    pub(super) unresolved: Share,
}

/// A part of a gauge.
pub(super) struct Share {
    gauge: Gauge,
    own: i64,
}

impl Share {
    fn new(gauge: Gauge) -> Self {
        Self { gauge, own: 0 }
    }

    pub(super) fn set(&mut self, value: impl Into<i64>) {
        let value = value.into();
        self.gauge.inc_by(value - self.own);
        self.own = value;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
