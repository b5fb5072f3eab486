//! One group of commands: applied in order, committed at once, answered after that. Where groups
//! come from, and what happens after a fault, is in [`super::writer`].

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use fjall::PersistMode;
use segment_source_core::{
    event::ActionId,
    source::{SourceHash, SourceId},
};

use super::{
    Options,
    command::{Answer, Command},
    directory,
    erase::{self, Effects},
    expire,
    keys::{QueueKey, Space},
    leases::Lease,
    plan, retain, revive,
    settle::{self, Lost},
    shared::Shared,
    space::FreeSpace,
    take::{self, Granted},
    txn::Txn,
    writer::Open,
};
use crate::{
    contract::{HoldLedger, Millis, Removed, StoreError},
    fault::Fault,
    holds,
};

/// An answer that waits for the commit.
type Reply = Box<dyn FnOnce(Result<(), StoreError>)>;

/// What a group did that others must hear of once it is on disk.
#[derive(Default)]
struct News {
    replies: Vec<Reply>,
    sources: HashMap<SourceHash, SourceId>,
    queues: HashSet<QueueKey>,
    ended: Vec<ActionId>,
    directories: HashSet<SourceHash>,
    reopened: bool,
}

impl News {
    /// Answers after the commit, or a fault at once.
    fn reply<T: 'static>(
        &mut self,
        answer: Answer<T>,
        result: Result<T, Fault>,
    ) -> Result<(), Fault> {
        match result {
            Ok(value) => {
                self.replies.push(Box::new(move |committed| {
                    let _ = answer.send(committed.map(|()| value));
                }));
                Ok(())
            }
            Err(fault) => {
                let _ = answer.send(Err(fault.clone().into()));
                Err(fault)
            }
        }
    }

    /// What is done may become owed again, which is told before and after the commit.
    fn reopens(&mut self, shared: &Shared) {
        shared.reopened.fetch_add(1, Ordering::SeqCst);
        self.reopened = true;
    }

    fn ended(&mut self, lease: Lease) {
        self.queues.insert(lease.queue);
        self.ended.push(lease.action);
    }
}

/// One group: everything that writes in one synced commit, then the takes. On a fault everything
/// in it is refused.
pub(super) fn write(
    open: &mut Open,
    shared: &Arc<Shared>,
    options: &Options,
    free: &mut FreeSpace,
    group: Vec<Command>,
) -> Result<(), Fault> {
    let now = (shared.clock)();
    let engine = open.engine.clone();
    let mut txn = Txn::new(&engine);
    let mut news = News::default();
    let mut takes = Vec::new();
    let mut commands = group.into_iter();
    let mut room = |command: &Command| match command {
        Command::Accept { .. } => free.check(engine.dir(), options.reserve),
        Command::Plan { .. }
        | Command::Revive { .. }
        | Command::Replay { .. }
        | Command::WriteDirectory { .. } => free.check(engine.dir(), options.reserve / 2),
        // What cannot be settled is not given out: it would be done, and done again, as often as
        // its lease ends.
        Command::Settle { .. } | Command::Take { .. } => {
            free.check(engine.dir(), options.reserve / 4)
        }
        _ => Ok(()),
    };
    let applied = end_lost_leases(open, shared, &mut txn, &mut news, now).and_then(|()| {
        for command in commands.by_ref() {
            match (room(&command), command) {
                (Ok(()), Command::Take { wanted, answer }) => takes.push((wanted, answer)),
                (Ok(()), command) => apply(open, shared, &mut txn, &mut news, now, command)?,
                (Err(full), command) => command.refuse(full),
            }
        }
        open.numbers.save(&mut txn);
        txn.commit(PersistMode::SyncData)
    });
    if let Err(fault) = applied {
        let why = StoreError::from(fault.clone());
        news.replies.into_iter().for_each(|reply| reply(Err(why.clone())));
        commands.for_each(|command| command.refuse(why.clone()));
        takes.into_iter().for_each(|(wanted, answer)| {
            Command::Take { wanted, answer }.refuse(why.clone());
        });
        return Err(fault);
    }
    if news.reopened {
        shared.reopened.fetch_add(1, Ordering::SeqCst);
    }
    shared.leases_ended(&news.ended);
    shared.directories.ring(&news.directories);
    shared.arrived(news.sources);
    shared.queues.ring(&news.queues);
    news.replies.into_iter().for_each(|reply| reply(Ok(())));
    let mut takes = takes.into_iter();
    for (wanted, answer) in takes.by_ref() {
        match take::take(&engine, &mut open.numbers, &mut open.leases, now, wanted) {
            Ok((taken, next_due)) => {
                shared.leases_begun(&taken);
                let _ = answer.send(Ok(Granted { taken, next_due, shared: shared.clone() }));
            }
            Err(fault) => {
                let why = StoreError::from(fault.clone());
                let _ = answer.send(Err(why.clone()));
                takes.for_each(|(wanted, answer)| {
                    Command::Take { wanted, answer }.refuse(why.clone());
                });
                return Err(fault);
            }
        }
    }
    Ok(())
}

/// Leases whose time is up, and released ones.
fn end_lost_leases(
    open: &mut Open,
    shared: &Shared,
    txn: &mut Txn<'_>,
    news: &mut News,
    now: Millis,
) -> Result<(), Fault> {
    let Open { numbers, leases, .. } = open;
    for token in shared.take_released() {
        let lease = settle::lose(txn, numbers, leases, now, token, Lost::ConsumerGone)?;
        lease.into_iter().for_each(|lease| news.ended(lease));
    }
    while let Some(token) = leases.expired() {
        let lease = settle::lose(txn, numbers, leases, now, token, Lost::TimeIsUp)?;
        lease.into_iter().for_each(|lease| news.ended(lease));
    }
    Ok(())
}

/// One command that writes.
fn apply(
    open: &mut Open,
    shared: &Shared,
    txn: &mut Txn<'_>,
    news: &mut News,
    now: Millis,
    command: Command,
) -> Result<(), Fault> {
    let Open { numbers, leases, erased, engine } = open;
    match command {
        Command::Accept { events, answer } => {
            let accepted = events.into_iter().map(|event| {
                let source = event.source();
                news.sources.entry(source.hash()).or_insert_with(|| source.clone());
                event.accept(txn, numbers, now)
            });
            let accepted = accepted.collect();
            news.reply(answer, accepted)
        }
        Command::Plan { events, answer } => {
            let planned = events.into_iter().try_for_each(|event| {
                event.plan(txn, numbers, erased).map(|to| news.queues.extend(to))
            });
            news.reply(answer, planned)
        }
        Command::Advance { to, answer } => {
            let advanced = plan::advance(txn, to).map(drop);
            news.reply(answer, advanced)
        }
        Command::Settle { settlements, answer } => {
            let settled = settlements.into_iter().map(|(token, settlement)| {
                let (settled, lease) =
                    settle::settle(txn, numbers, leases, now, token, settlement)?;
                lease.into_iter().for_each(|lease| news.ended(lease));
                Ok(settled)
            });
            let settled = settled.collect();
            news.reply(answer, settled)
        }
        Command::Revive { actions, answer } => {
            news.reopens(shared);
            let revived = actions.into_iter().map(|revival| {
                let queue = revive::revive(txn, numbers, now, revival)?;
                news.queues.extend(queue);
                Ok(queue.is_some())
            });
            let revived = revived.collect();
            news.reply(answer, revived)
        }
        Command::Replay { replay, events, answer } => {
            news.reopens(shared);
            let runs = events.into_iter().map(|event| {
                let Some(event) = event else { return Ok(None) };
                let Some((run, to)) = event.replay(txn, numbers, replay, now)? else {
                    return Ok(None);
                };
                news.queues.extend(to);
                Ok(Some(run))
            });
            let runs = runs.collect();
            news.reply(answer, runs)
        }
        Command::Hold { queue, hold, place, answer } => {
            let held = held(txn, queue).map(|ledger| {
                let ledger = holds::hold(ledger, now, hold, place);
                let held = ledger.is_some();
                ledger.into_iter().for_each(|ledger| set_held(txn, queue, ledger));
                held
            });
            news.queues.extend(held.as_ref().is_ok_and(|held| *held).then_some(queue));
            news.reply(answer, held)
        }
        Command::EndHold { queue, which, answer } => {
            let ended = held(txn, queue).map(|ledger| {
                let (ledger, hold) = holds::end_hold(ledger, now, &which)?;
                set_held(txn, queue, ledger);
                Some(hold)
            });
            news.queues.extend(ended.as_ref().is_ok_and(Option::is_some).then_some(queue));
            news.reply(answer, ended)
        }
        Command::Expire { queue, places, reason, answer } => {
            let expired = expire::expire(txn, numbers, leases, queue, &places, &reason);
            news.queues.insert(queue);
            news.reply(answer, expired)
        }
        Command::WriteDirectory { source, writes, answer } => {
            let written = directory::write(txn, source, writes);
            news.directories.insert(source);
            news.reply(answer, written)
        }
        Command::Remove { found, reopened, answer } => {
            let removed = match shared.reopened.load(Ordering::SeqCst) == reopened {
                true => retain::remove(txn, numbers, &found).map(|removed| Some((removed, found))),
                false => Ok(None),
            };
            news.reply(answer, removed)
        }
        Command::DropDays { days, answer } => {
            let dropped = engine.drop_days(&days);
            news.reply(answer, dropped)
        }
        Command::Erase { events, answer } => {
            let mut effects = Effects::default();
            let removed = events.into_iter().try_fold(Removed::default(), |sum, event| {
                let one = erase::erase(txn, numbers, leases, erased, event, &mut effects)?;
                let (events, actions) = (sum.events + one.events, sum.actions + one.actions);
                Ok(Removed { events, actions, more: false })
            });
            news.queues.extend(effects.queues);
            effects.leases.into_iter().for_each(|lease| news.ended(lease));
            news.reply(answer, removed)
        }
        Command::Take { .. } | Command::Released | Command::Close => Ok(()),
    }
}

/// What is remembered of a destination.
fn held(txn: &Txn<'_>, queue: QueueKey) -> Result<HoldLedger, Fault> {
    holds::read(txn.get(Space::Holds, &queue.0)?.as_deref())
}

fn set_held(txn: &mut Txn<'_>, queue: QueueKey, ledger: HoldLedger) {
    txn.put(Space::Holds, &queue.0, holds::to_bytes(ledger));
}
