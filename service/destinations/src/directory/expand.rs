//! What the directory knows of the recipients of deliveries, for consumers that ask for it.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use segment_source_core::{
    directory::{Key, Recipient, recipients},
    source::SourceId,
};
use segment_source_proto::{directory::v1::Entity, queue::v1::Delivery};
use segment_source_store::Store;
use tonic::Status;

use super::{present::Known, problem, write::bytes};

/// Bytes of recipients in one message; beside 3 MiB of actions that fits into gRPC's 4 MiB.
pub(crate) const MAX_RECIPIENT_BYTES: usize = 512 << 10;

/// Recipients that are looked up at once, and those of the delivery that goes beyond.
const AT_ONCE: usize = 1_000;

/// What [`MAX_RECIPIENT_BYTES`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Each delivery is a message.
    Each,
    /// All of them are one message.
    All,
}

/// Adds to each delivery the recipients that the directory knows, with as few look-ups as can be.
/// What goes beyond the bound is left out, and counted.
pub(crate) async fn expand(
    store: &Store,
    source: &SourceId,
    mut deliveries: &mut [Delivery],
    message: Message,
) -> Result<(), Status> {
    let mut left = MAX_RECIPIENT_BYTES;
    while !deliveries.is_empty() {
        let (mut wanted, mut count) = (Vec::new(), 0);
        for delivery in deliveries.iter() {
            if count >= AT_ONCE {
                break;
            }
            let recipients = recipients(&delivery.payload_json);
            count += recipients.len();
            wanted.push(recipients);
        }
        let (now, later) = deliveries.split_at_mut(wanted.len());
        let known = look_up(store, source, &wanted).await?;
        for (delivery, wanted) in now.iter_mut().zip(&wanted) {
            if message == Message::Each {
                left = MAX_RECIPIENT_BYTES;
            }
            for entity in wanted.iter().filter_map(|recipient| known.get(recipient)) {
                match left.checked_sub(entity.encoded_len()) {
                    Some(rest) => {
                        left = rest;
                        delivery.recipients.push(entity.clone());
                    }
                    None => delivery.recipients_left_out += 1,
                }
            }
        }
        deliveries = later;
    }
    Ok(())
}

async fn look_up<'w>(
    store: &Store,
    source: &SourceId,
    wanted: &'w [Vec<Recipient>],
) -> Result<HashMap<&'w Recipient, Entity>, Status> {
    let distinct: HashSet<&Recipient> = wanted.iter().flatten().collect();
    if distinct.is_empty() {
        return Ok(HashMap::new());
    }
    let distinct: Vec<_> = distinct.into_iter().collect();
    let keys = distinct.iter().map(|&recipient| bytes(&Key::Recipient(recipient.clone())));
    let found = store.directory(source, keys.collect()).await;
    let found = found.map_err(|error| problem::store(&error))?;
    let mut known = HashMap::new();
    for (recipient, found) in distinct.into_iter().zip(found) {
        let Some(found) = found else { continue };
        let it = Known::read(Key::Recipient(recipient.clone()), &found)?;
        if it.record.exists() {
            known.insert(recipient, it.entity(false));
        }
    }
    Ok(known)
}
