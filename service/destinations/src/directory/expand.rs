//! What the directory knows of the recipients of deliveries, for consumers that ask for it.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;
use segment_source_core::{
    directory::{Key, Recipient, recipients},
    source::SourceId,
};
use segment_source_proto::{directory::v1::Entity, queue::v1::Delivery};
use segment_source_store::embedded::Store;
use tonic::Status;

use super::{present::Known, problem, write::bytes};

/// Bytes of recipients in one message; beside 3 MiB of actions that fits into gRPC's 4 MiB.
pub(crate) const MAX_RECIPIENT_BYTES: usize = 512 << 10;

/// Recipients that are looked up for one message.
const MAX_LOOKED_UP: usize = 2_000;

/// Adds to each delivery the recipients that the directory knows. Looks all of them up at once,
/// and leaves out, with a count, what goes beyond `most` bytes, or beyond 2,000 recipients.
pub(crate) async fn expand(
    store: &Store,
    source: &SourceId,
    deliveries: &mut [Delivery],
    most: usize,
) -> Result<(), Status> {
    let wanted = deliveries.iter().map(|delivery| recipients(&delivery.payload_json));
    let wanted: Vec<Vec<Recipient>> = wanted.collect();
    let (mut places, mut keys) = (HashMap::new(), Vec::new());
    for recipient in wanted.iter().flatten() {
        if !places.contains_key(recipient) && keys.len() < MAX_LOOKED_UP {
            places.insert(recipient, keys.len());
            keys.push(Key::Recipient(recipient.clone()));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let asked: Vec<Bytes> = keys.iter().map(bytes).collect();
    let found = store.directory(source, asked).await.map_err(|error| problem::store(&error))?;
    let known = keys.into_iter().zip(found).map(|(key, found)| {
        let Some(found) = found else { return Ok(None) };
        let known = Known::read(key, &found)?;
        Ok(known.record.exists().then(|| known.entity(false)))
    });
    let known: Vec<Option<Entity>> = known.collect::<Result<_, Status>>()?;
    let mut left = most;
    for (delivery, wanted) in deliveries.iter_mut().zip(&wanted) {
        for recipient in wanted {
            let Some(at) = places.get(recipient) else {
                delivery.recipients_left_out += 1;
                continue;
            };
            let Some(entity) = &known[*at] else { continue };
            match left.checked_sub(entity.encoded_len()) {
                Some(rest) => {
                    left = rest;
                    delivery.recipients.push(entity.clone());
                }
                None => delivery.recipients_left_out += 1,
            }
        }
    }
    Ok(())
}
