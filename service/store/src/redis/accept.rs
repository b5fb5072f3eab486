//! Events into the log: one script a partition and batch.

use std::collections::BTreeMap;

use bytes::BufMut as _;
use futures_util::future::try_join_all;
use prost::Message as _;
use segment_source_core::{event::EventId, source::SourceId};

use super::{Store, partition, reply, windows};
use crate::{
    contract::{Accepted, NewEvent, StoreError},
    records::LogRecord,
};

/// Events of one call of the script, and their bytes: nobody else is served meanwhile.
const AT_ONCE: usize = 256;
/// As [`AT_ONCE`].
const BYTES_AT_ONCE: usize = 1 << 20;

/// Of a fingerprint: 4 bytes find the bucket, 9 are the field (`accept.lua`).
const FINGERPRINT_BYTES: usize = 13;

impl Store {
    pub(crate) async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        if let Some((free, reserve)) = self.0.full() {
            return Err(StoreError::Full { free, reserve });
        }
        let mut partitions: BTreeMap<u64, Vec<(usize, NewEvent)>> = BTreeMap::new();
        let count = events.len();
        for (at, event) in events.into_iter().enumerate() {
            partitions.entry(partition(event.source.hash())).or_default().push((at, event));
        }
        let accepting =
            partitions.into_iter().map(|(partition, events)| self.accept_in(partition, events));
        let mut answers = vec![None; count];
        for (at, accepted) in try_join_all(accepting).await?.into_iter().flatten() {
            answers[at] = Some(accepted);
        }
        answers
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Unavailable("an answer of Redis is not complete".into()))
    }

    async fn accept_in(
        &self,
        partition: u64,
        events: Vec<(usize, NewEvent)>,
    ) -> Result<Vec<(usize, Accepted)>, StoreError> {
        let mut accepted = Vec::with_capacity(events.len());
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some((_, next)) = events.peek()
                && (batch.is_empty() || batch.len() < AT_ONCE && bytes < BYTES_AT_ONCE)
            {
                bytes += next.event.body.len();
                batch.extend(events.next());
            }
            accepted.extend(self.accept_batch(partition, batch).await?);
        }
        Ok(accepted)
    }

    async fn accept_batch(
        &self,
        partition: u64,
        batch: Vec<(usize, NewEvent)>,
    ) -> Result<Vec<(usize, Accepted)>, StoreError> {
        let mut sources: Vec<SourceId> = Vec::new();
        let mut asked = Vec::with_capacity(batch.len());
        let (mut args, mut of_events) = (self.args().arg(&self.0.holder), super::Args::default());
        for (at, new) in batch {
            let known = sources.iter().position(|source| *source == new.source);
            let source = known.unwrap_or(sources.len());
            asked.push((at, new.source.hash()));
            let (fingerprint, window) = self.0.fingerprints.claim(&new);
            if known.is_none() {
                sources.push(new.source);
            }
            // A duplicate keeps what comes before headers and body.
            let kept = LogRecord::description(&new.event).encoded_len();
            let mut claim = Vec::with_capacity(7 + FINGERPRINT_BYTES);
            // The limits of a batch and of a body keep both numbers far below their types'.
            claim.put_u16(u16::try_from(source + 1).unwrap_or_default());
            claim.put_u8(windows::number(window));
            claim.put_u32(u32::try_from(kept).unwrap_or_default());
            claim.put_slice(&fingerprint[..FINGERPRINT_BYTES]);
            of_events.bytes(claim);
            let record = LogRecord::new(new.event);
            let mut entry = Vec::with_capacity(new.receipt.0.len() + record.encoded_len());
            entry.put_slice(&new.receipt.0);
            record.encode_raw(&mut entry);
            of_events.bytes(entry);
        }
        args.push(sources.len());
        for source in &sources {
            args.bytes(source.hash().0);
            args.push(source.as_str());
        }
        args.push(asked.len());
        args.append(of_events);
        let answers: Vec<Vec<u8>> = self.call(&self.scripts().accept, partition, &args).await?;
        // Others hear of it by what the script publishes.
        if self.0.owns_partition(partition) {
            self.0.unplanned.mark(sources);
        }
        let accepted = asked.into_iter().zip(answers).map(|((at, source), answer)| {
            let id = |bytes: &[u8]| -> Result<EventId, StoreError> { reply::id(bytes, source) };
            let accepted = match answer.split_at_checked(8) {
                Some((new, [])) => Accepted::New(id(new)?),
                Some((entry, original)) => {
                    Accepted::Duplicate { entry: id(entry)?, original: id(original)? }
                }
                None => return Err(reply::damaged("an event id").into()),
            };
            Ok((at, accepted))
        });
        accepted.collect()
    }
}
