//! A lease of the store as the wire shows it.

use std::time::{Duration, UNIX_EPOCH};

use prost_types::Timestamp;
use segment_source_proto::queue::v1::Delivery;
use segment_source_store::{Leased, Millis};

use super::metrics::Metrics;

/// The delivery of a lease; counted.
pub(super) fn delivery(leased: Leased, metrics: &Metrics) -> Delivery {
    metrics.deliveries.inc();
    if leased.attempt > 1 {
        metrics.redeliveries.inc();
    }
    let Leased { token, expires, attempt, action, record, .. } = leased;
    Delivery {
        token: token.0.to_vec().into(),
        lease_expires: Some(timestamp(expires)),
        attempt,
        action_id: action.to_string(),
        idempotency_key: action.idempotency_key(&record.mapping),
        action_type: record.action_type,
        mapping: record.mapping,
        event_id: action.event.to_string(),
        event_type: record.event_type,
        event_timestamp: record.event_timestamp,
        accepted: Some(timestamp(action.event.millis)),
        payload_json: record.payload.unwrap_or_default(),
        recipients: Vec::new(),
        recipients_left_out: 0,
    }
}

/// Milliseconds since 1970 on the wire.
pub(super) fn timestamp(millis: Millis) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(millis)).into()
}
