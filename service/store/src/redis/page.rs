//! Reading a log in pages: the stream and what was erased of it, as one; and what became of each entry.

use prost::Message as _;
use redis::Value;
use segment_source_core::{
    event::EventId,
    source::{SourceHash, SourceId},
};

use super::{Store, partition, reply};
use crate::{
    contract::{ActionState, ActionStatus, Attempt, LogEntry, Millis, Planned, Reason, StoreError},
    fault::Fault,
    records::{ActionRecord, LogRecord, PlanRecord},
};

/// Entries read at once.
const PAGE: usize = 64;
/// As much is read before the rest is left to the next call.
pub(super) const LOOK_BYTES: usize = 4 << 20;

/// Which entries, by the ids of a stream: `(` excludes, `-` and `+` are the ends.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) from: Bound,
    pub(super) until: Bound,
    pub(super) newest_first: bool,
}

/// An end of a [`Range`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Open,
    At(EventId),
    Beyond(EventId),
}

impl Bound {
    fn in_stream(self, open: &str) -> String {
        match self {
            Self::Open => open.to_owned(),
            Self::At(id) => reply::stream_id(id),
            Self::Beyond(id) => format!("({}", reply::stream_id(id)),
        }
    }

    /// Members begin with the id; more follows, so those of an id lie between it and it followed by
    /// the largest bytes.
    fn in_set(self, open: &str, lower: bool) -> Vec<u8> {
        let (id, after) = match self {
            Self::Open => return open.as_bytes().to_vec(),
            Self::At(id) => (id, !lower),
            Self::Beyond(id) => (id, lower),
        };
        let mut bound = [b"[".as_slice(), &id.to_bytes()[..8]].concat();
        if after {
            bound.extend([0xff; 17]);
        }
        bound
    }
}

pub(super) type Entry = (EventId, LogRecord);

impl Store {
    /// Up to `limit` entries and about [`LOOK_BYTES`]; the second says whether the range has ended.
    pub(super) async fn entries(
        &self,
        source: SourceHash,
        mut range: Range,
        limit: usize,
    ) -> Result<(Vec<Entry>, bool), StoreError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit && bytes < LOOK_BYTES {
            let wanted = PAGE.min(limit - entries.len());
            let page = self.page(source, &range, wanted).await?;
            let ended = page.len() < wanted;
            bytes += page.iter().map(|(_, record)| record.encoded_len()).sum::<usize>();
            let last = page.last().map(|(id, _)| Bound::Beyond(*id));
            entries.extend(page);
            match last {
                Some(last) if !ended && range.newest_first => range.until = last,
                Some(last) if !ended => range.from = last,
                _ => return Ok((entries, true)),
            }
        }
        Ok((entries, false))
    }

    async fn page(
        &self,
        source: SourceHash,
        range: &Range,
        count: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (from, until) = (range.from.in_stream("-"), range.until.in_stream("+"));
        let lower = range.from.in_set("-", true);
        let upper = range.until.in_set("+", false);
        let (log, gone) = (self.key_of(source, "log:"), self.key_of(source, "gone:"));
        let mut both = redis::pipe();
        if range.newest_first {
            both.cmd("XREVRANGE").arg(log).arg(until).arg(from).arg("COUNT").arg(count);
            both.cmd("ZREVRANGEBYLEX").arg(gone).arg(upper).arg(lower);
        } else {
            both.cmd("XRANGE").arg(log).arg(from).arg(until).arg("COUNT").arg(count);
            both.cmd("ZRANGEBYLEX").arg(gone).arg(lower).arg(upper);
        }
        both.arg("LIMIT").arg(0).arg(count);
        self.0.open()?;
        let found = both.query_async(&mut self.0.connection.clone()).await;
        let (stream, erased): (Vec<(String, Vec<Vec<u8>>)>, Vec<Vec<u8>>) = self.answer(found)?;
        let mut entries = Vec::with_capacity(stream.len() + erased.len());
        for (id, fields) in stream {
            let stored = fields.get(1).ok_or(Fault::damaged("an entry of a log"))?;
            entries.push((reply::from_stream(&id, source)?, decode(stored)?));
        }
        for member in erased {
            let (id, stored) =
                member.split_at_checked(8).ok_or(Fault::damaged("an erased entry"))?;
            entries.push((reply::id(id, source)?, decode(stored)?));
        }
        entries.sort_by_key(|(id, _)| *id);
        if range.newest_first {
            entries.reverse();
        }
        entries.truncate(count);
        Ok(entries)
    }

    /// One entry; erased ones too.
    pub(super) async fn entry(&self, id: EventId) -> Result<Option<LogRecord>, StoreError> {
        let range = Range { from: Bound::At(id), until: Bound::At(id), newest_first: false };
        Ok(self.page(id.source, &range, 1).await?.pop().map(|(_, record)| record))
    }

    /// With everything that happened to them; the first ones, when that is a lot.
    pub(super) async fn tell(
        &self,
        source: &SourceId,
        entries: Vec<Entry>,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let ids: Vec<_> = entries.iter().map(|(id, _)| *id).collect();
        let stories = self.stories(source.hash(), &ids).await?;
        let told = entries.into_iter().zip(stories).map(|((id, record), story)| {
            let duplicate_of = record.original()?;
            let event = record.into_event()?;
            let (planned, actions) = match story {
                Some(story) => (Some(story.planned), story.actions),
                None => (None, Vec::new()),
            };
            Ok(LogEntry { id, source: source.clone(), event, duplicate_of, planned, actions })
        });
        told.collect()
    }

    /// What became of events of one source: of the first ones, when that is [`LOOK_BYTES`].
    pub(super) async fn stories(
        &self,
        source: SourceHash,
        ids: &[EventId],
    ) -> Result<Vec<Option<Story>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = self.args().arg(ids.len()).arg(LOOK_BYTES);
        for id in ids {
            args.bytes(source.0);
            args.bytes(&id.to_bytes()[..8]);
        }
        let told: Vec<Value> = self.call(&self.scripts().story, partition(source), &args).await?;
        let now = self.now();
        told.into_iter().map(|told| Story::read(told, now)).collect()
    }
}

fn decode(stored: &[u8]) -> Result<LogRecord, Fault> {
    // Behind its receipt.
    let record = stored.get(16..).ok_or(Fault::damaged("an entry of a log"))?;
    Ok(LogRecord::decode(record)?)
}

/// What became of an event.
pub(super) struct Story {
    pub(super) planned: Planned,
    pub(super) actions: Vec<ActionStatus>,
}

type Told = (Vec<u8>, Vec<(u16, Vec<u8>)>, Vec<(Vec<u8>, Vec<u8>, State, u32)>);
type State = (u8, u32, Millis, String, String, String, Vec<Value>);

impl Story {
    fn read(told: Value, now: Millis) -> Result<Option<Self>, StoreError> {
        let told: Option<Told> = typed(told)?;
        let Some((plan, runs, actions)) = told else { return Ok(None) };
        let mut planned = planned(&plan)?;
        for (run, plan) in runs {
            planned.replays.push((run, self::planned(&plan)?));
        }
        let mut told = Vec::with_capacity(actions.len());
        for (id, record, state, attempt) in actions {
            let action = ActionRecord::decode(&*record).map_err(Fault::from)?.into();
            let mut status = ActionStatus {
                id: reply::action(&id)?,
                action,
                state: ActionState::Pending { not_before: None },
                attempts: 0,
                reason: None,
                history: Vec::new(),
                answer: String::new(),
            };
            tell(&mut status, state, now)?;
            if attempt > 0 {
                status.state = ActionState::Leased;
                status.attempts = attempt;
            }
            told.push(status);
        }
        Ok(Some(Self { planned, actions: told }))
    }
}

fn planned(stored: &[u8]) -> Result<Planned, Fault> {
    Ok(PlanRecord::decode(stored)?.into())
}

/// `not_before` counts only as long as it lies ahead.
fn tell(status: &mut ActionStatus, state: State, now: Millis) -> Result<(), StoreError> {
    let (kind, attempts, not_before, code, message, answer, history) = state;
    status.state = match kind {
        0 => ActionState::Pending { not_before: Some(not_before).filter(|due| *due > now) },
        1 => ActionState::Delivered,
        2 => ActionState::Failed,
        3 => ActionState::Dead,
        _ => return Err(Fault::damaged("an action's state").into()),
    };
    status.attempts = attempts;
    status.reason = (!code.is_empty()).then_some(Reason { code, message });
    status.answer = answer;
    for attempt in history {
        let told: Vec<Value> = typed(attempt)?;
        let mut told = told.into_iter();
        let mut next = || told.next().unwrap_or(Value::Nil);
        let (started, ended) = (typed(next())?, typed(next())?);
        let (code, message): (Option<String>, Option<String>) = (typed(next())?, typed(next())?);
        let failure = code.map(|code| Reason { code, message: message.unwrap_or_default() });
        status.history.push(Attempt { started, ended, failure });
    }
    Ok(())
}

pub(super) fn typed<T: redis::FromRedisValue>(value: Value) -> Result<T, StoreError> {
    let damaged = |_| StoreError::from(Fault::damaged("an answer of a script"));
    redis::from_redis_value(value).map_err(damaged)
}
