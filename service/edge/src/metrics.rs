//! Names and labels of the edge's metrics. Every label has a bounded set of values; no source, no
//! message and no secret is among them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use segment_source_core::signature::{Hint, Refusal};

use crate::{Reply, body::Bodies};

const PREFIX: &str = "segment_source_edge";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    status: u16,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    cause: &'static str,
    hint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LinkLabels {
    link: &'static str,
}

/// What links are called by their numbers; those beyond share the last name.
const LINKS: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "more"];

/// The edge's metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<AnswerLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    received_bytes: Counter,
    under_way: Gauge<i64, AtomicI64>,
    batch_events: Histogram,
    submit_seconds: Histogram,
    stream_breaks: Counter,
    ingests: Gauge<i64, AtomicI64>,
    batches: Family<LinkLabels, Counter>,
    batches_unanswered: Family<LinkLabels, Gauge<i64, AtomicI64>>,
    resubmitted_events: Counter,
}

/// What one link tells; its share of the gauge ends with it.
#[derive(Debug)]
pub(crate) struct LinkMetrics {
    batches: Counter,
    unanswered: Gauge<i64, AtomicI64>,
    share: AtomicI64,
}

impl LinkMetrics {
    /// Another batch was sent.
    pub(crate) fn batch(&self) {
        self.batches.inc();
    }

    /// So many batches are unanswered now.
    pub(crate) fn unanswered(&self, batches: usize) {
        let now = i64::try_from(batches).unwrap_or(i64::MAX);
        self.unanswered.inc_by(now - self.share.swap(now, Ordering::Relaxed));
    }
}

impl Drop for LinkMetrics {
    fn drop(&mut self) {
        self.unanswered(0);
    }
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry, bodies: &Arc<Bodies>) -> Self {
        let metrics = Self {
            requests: Family::default(),
            refusals: Family::default(),
            received_bytes: Counter::default(),
            under_way: Gauge::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            submit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            stream_breaks: Counter::default(),
            ingests: Gauge::default(),
            batches: Family::default(),
            batches_unanswered: Family::default(),
            resubmitted_events: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "requests",
            "Webhook requests by answer; reason is the code of the answer",
            metrics.requests.clone(),
        );
        registry.register(
            "verification_failures",
            "Requests refused by verification, and what the signature would have matched",
            metrics.refusals.clone(),
        );
        registry.register_with_unit(
            "received",
            "Bytes of request bodies that were read whole",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register(
            "requests_under_way",
            "Requests between their head and their answer",
            metrics.under_way.clone(),
        );
        registry.register(
            "batch_events",
            "Events in each batch sent to ingest",
            metrics.batch_events.clone(),
        );
        registry.register_with_unit(
            "submit",
            "Time from handing a request to ingest until its events were durable",
            Unit::Seconds,
            metrics.submit_seconds.clone(),
        );
        registry.register(
            "stream_breaks",
            "How often the stream to an ingest could not be opened or ended",
            metrics.stream_breaks.clone(),
        );
        registry.register("ingests", "Ingests that are reached and ready", metrics.ingests.clone());
        registry.register(
            "batches",
            "Batches sent, by link; a link is one ingest for as long as it is ready",
            metrics.batches.clone(),
        );
        registry.register(
            "batches_unanswered",
            "Batches on their way now, by link",
            metrics.batches_unanswered.clone(),
        );
        registry.register(
            "resubmitted_events",
            "Events that were sent and not answered, and waited to be sent again",
            metrics.resubmitted_events.clone(),
        );
        registry.register_collector(Box::new(BodyBytes(Arc::clone(bodies))));
        metrics
    }

    pub(crate) fn answered(&self, reply: Reply) {
        let row = reply.row();
        let labels = AnswerLabels { status: row.status, reason: row.code };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn refused(&self, refusal: Refusal, hint: Option<Hint>) {
        let labels =
            RefusalLabels { cause: cause(refusal), hint: hint.map_or("none", Hint::as_str) };
        self.refusals.get_or_create(&labels).inc();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
    }

    /// Counts a request as under way until the guard is dropped.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    pub(crate) fn batch(&self, events: usize) {
        // At most 256.
        self.batch_events.observe(events as f64);
    }

    pub(crate) fn submitted(&self, seconds: f64) {
        self.submit_seconds.observe(seconds);
    }

    pub(crate) fn stream_broke(&self) {
        self.stream_breaks.inc();
    }

    pub(crate) fn ingests(&self, count: usize) {
        self.ingests.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn resubmitted(&self, events: usize) {
        self.resubmitted_events.inc_by(events as u64);
    }

    /// Those of the link with this number.
    pub(crate) fn link(&self, number: usize) -> LinkMetrics {
        let labels = LinkLabels { link: LINKS[number.min(LINKS.len() - 1)] };
        LinkMetrics {
            batches: self.batches.get_or_create_owned(&labels),
            unanswered: self.batches_unanswered.get_or_create_owned(&labels),
            share: AtomicI64::new(0),
        }
    }
}

fn cause(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoSecret => "no_secret",
        Refusal::SignatureMissing => "signature_missing",
        Refusal::ArrayRefused => "array_refused",
        Refusal::SignatureMalformed => "signature_malformed",
        Refusal::Mismatch => "signature_mismatch",
        Refusal::RequiredHeaderNotLoaded => "required_header_not_loaded",
        Refusal::RequiredHeaderWrong => "required_header_wrong",
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Gauge<i64, AtomicI64>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bytes of bodies in memory, read from the budget at scrape.
#[derive(Debug)]
struct BodyBytes(Arc<Bodies>);

impl Collector for BodyBytes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let held = ConstGauge::new(i64::try_from(self.0.held()).unwrap_or(i64::MAX));
        let encoder = encoder.encode_descriptor(
            "body_budget_used",
            "Bytes of request bodies in memory",
            Some(&Unit::Bytes),
            held.metric_type(),
        )?;
        held.encode(encoder)
    }
}
