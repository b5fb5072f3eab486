//! Events into the log. One call of the script takes up to [`AT_ONCE`] of them: of all partitions on a single
//! server, of one partition in a cluster.

use std::collections::BTreeMap;

use bytes::BufMut as _;
use futures_util::future::try_join_all;
use prost::Message as _;
use segment_source_core::{
    event::EventId,
    source::{SourceHash, SourceId},
};

use super::{Args, Store, connect::Connection, partition, reply, windows};
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

/// One call of the script.
#[derive(Default)]
struct Call {
    /// Of each partition its events, with their places among all that are accepted together.
    partitions: BTreeMap<u64, Vec<(usize, NewEvent)>>,
    events: usize,
    bytes: usize,
}

impl Call {
    fn has_room(&self) -> bool {
        self.events < AT_ONCE && self.bytes < BYTES_AT_ONCE
    }

    fn push(&mut self, partition: u64, at: usize, event: NewEvent) {
        self.events += 1;
        self.bytes += event.event.body.len();
        self.partitions.entry(partition).or_default().push((at, event));
    }
}

/// Nobody tells of what was stored, unless the call succeeds and this is told.
struct Untold<'a> {
    store: &'a Store,
    partitions: Vec<u64>,
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        self.partitions.iter().for_each(|partition| self.store.0.may_be_unseen(*partition));
    }
}

impl Store {
    pub(crate) async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        if let Some((free, reserve)) = self.0.full() {
            return Err(StoreError::Full { free, reserve });
        }
        let mut answers = vec![None; events.len()];
        let accepting = self.lines(events).into_values().map(async |calls| {
            let mut accepted = Vec::new();
            for call in calls {
                accepted.extend(self.accept_call(call).await?);
            }
            Ok::<_, StoreError>(accepted)
        });
        for (at, accepted) in try_join_all(accepting).await?.into_iter().flatten() {
            answers[at] = Some(accepted);
        }
        answers
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Unavailable("an answer of Redis is not complete".into()))
    }

    /// Calls of a line are made one after the other, so that events of a source stay in order. In a cluster
    /// each partition is a line of its own: a script's keys must be of one slot.
    fn lines(&self, events: Vec<NewEvent>) -> BTreeMap<u64, Vec<Call>> {
        let mut lines: BTreeMap<u64, Vec<Call>> = BTreeMap::new();
        for (at, event) in events.into_iter().enumerate() {
            let partition = partition(event.source.hash());
            let line = match self.0.connection {
                Connection::Single(_) => 0,
                Connection::Cluster(_) => partition,
            };
            let calls = lines.entry(line).or_default();
            if !calls.last().is_some_and(Call::has_room) {
                calls.push(Call::default());
            }
            if let Some(call) = calls.last_mut() {
                call.push(partition, at, event);
            }
        }
        lines
    }

    async fn accept_call(&self, call: Call) -> Result<Vec<(usize, Accepted)>, StoreError> {
        let partitions: Vec<_> = call.partitions.keys().copied().collect();
        let (mut args, mut asked) = (self.args().arg(&self.0.holder), Vec::new());
        let mut sources = Vec::with_capacity(partitions.len());
        for events in call.partitions.into_values() {
            asked.extend(events.iter().map(|(at, new)| (*at, new.source.hash())));
            sources.push(self.push_events(&mut args, events));
        }
        let mut untold = Untold { store: self, partitions };
        let script = &self.scripts().accept;
        let answers: Vec<Vec<u8>> = self.call_in(script, &untold.partitions, &args).await?;
        untold.partitions.clear();
        sources.into_iter().for_each(|sources| self.have_arrived(sources));
        let accepted = asked.into_iter().zip(answers);
        accepted.map(|((at, source), answer)| Ok((at, read(&answer, source)?))).collect()
    }

    /// What the script is told of a partition: its sources, which this returns, and the events with their
    /// claims.
    fn push_events(&self, args: &mut Args, events: Vec<(usize, NewEvent)>) -> Vec<SourceId> {
        let (mut sources, mut of_events) = (Vec::<SourceId>::new(), Args::default());
        let count = events.len();
        for (_, new) in events {
            let known = sources.iter().position(|source| *source == new.source);
            let source = known.unwrap_or(sources.len());
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
        args.push(count);
        args.append(of_events);
        sources
    }
}

/// What the script says of an event.
fn read(answer: &[u8], source: SourceHash) -> Result<Accepted, StoreError> {
    let id = |bytes: &[u8]| -> Result<EventId, StoreError> { reply::id(bytes, source) };
    match answer.split_at_checked(8) {
        Some((new, [])) => Ok(Accepted::New(id(new)?)),
        Some((entry, original)) => {
            Ok(Accepted::Duplicate { entry: id(entry)?, original: id(original)? })
        }
        None => Err(reply::damaged("an event id").into()),
    }
}
