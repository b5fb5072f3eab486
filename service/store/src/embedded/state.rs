//! What became of an action, as it is on disk: its state, its attempts, and the answer in the end.
//! When it changes is the business of those who settle.

use prost::Message;

use crate::{
    contract::{ActionState, ActionStatus, Attempt, MAX_HISTORY, Millis, Reason},
    fault::Fault,
    records::{Pair, cut},
};

/// Exists once something happened to the action; until then it is pending, without attempts.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StateRecord {
    #[prost(enumeration = "State", tag = "1")]
    pub(super) state: i32,
    /// Leases that ended.
    #[prost(uint32, tag = "2")]
    pub(super) attempts: u32,
    #[prost(uint64, optional, tag = "3")]
    pub(super) not_before: Option<Millis>,
    /// Code and message.
    #[prost(message, optional, tag = "4")]
    pub(super) reason: Option<Pair>,
    /// Oldest first: the first and the last ones.
    #[prost(message, repeated, tag = "5")]
    pub(super) history: Vec<AttemptRecord>,
    #[prost(string, tag = "6")]
    pub(super) answer: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct AttemptRecord {
    #[prost(uint64, tag = "1")]
    pub(super) started: Millis,
    #[prost(uint64, tag = "2")]
    pub(super) ended: Millis,
    /// Code and message; absent: it succeeded.
    #[prost(message, optional, tag = "3")]
    pub(super) failure: Option<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum State {
    Pending = 0,
    Delivered = 1,
    Failed = 2,
    Dead = 3,
}

impl StateRecord {
    /// Of an action nothing was attempted with.
    pub(super) fn new(state: State, reason: Option<Reason>) -> Self {
        Self { state: state.into(), reason: reason.map(bounded), ..Self::default() }
    }

    /// Another attempt ended.
    pub(super) fn attempted(&mut self, started: Millis, ended: Millis, failure: Option<Reason>) {
        let failure = failure.map(bounded);
        if failure.is_some() {
            self.reason.clone_from(&failure);
        }
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(1);
        }
        // The clock may have stepped back.
        self.history.push(AttemptRecord { started, ended: ended.max(started), failure });
    }

    /// It ends for another reason than an attempt.
    pub(super) fn end(&mut self, state: State, reason: Reason) {
        self.state = state.into();
        self.not_before = None;
        self.reason = Some(bounded(reason));
    }

    /// Puts these words in the place of those that others said.
    pub(super) fn forget(&mut self, instead: &str) {
        if !self.answer.is_empty() {
            instead.clone_into(&mut self.answer);
        }
        let failures = self.history.iter_mut().filter_map(|attempt| attempt.failure.as_mut());
        for reason in failures.chain(&mut self.reason) {
            instead.clone_into(&mut reason.second);
        }
    }

    /// Keeps as much of it as is kept.
    pub(super) fn answered(&mut self, answer: String) {
        self.answer = cut(answer);
    }

    /// Tells a status, of which only what never changes is known, what became of the action.
    /// `not_before` counts only as long as it lies ahead.
    pub(super) fn tell(self, status: &mut ActionStatus, now: Millis) {
        status.state = match self.state() {
            State::Pending => {
                ActionState::Pending { not_before: self.not_before.filter(|due| *due > now) }
            }
            State::Delivered => ActionState::Delivered,
            State::Failed => ActionState::Failed,
            State::Dead => ActionState::Dead,
        };
        status.attempts = self.attempts;
        status.reason = self.reason.map(Reason::from);
        status.history = self.history.into_iter().map(Attempt::from).collect();
        status.answer = self.answer;
    }

    /// `None`: nothing happened to the action.
    pub(super) fn read(stored: Option<&[u8]>) -> Result<Self, Fault> {
        Ok(stored.map(Self::decode).transpose()?.unwrap_or_default())
    }
}

impl From<AttemptRecord> for Attempt {
    fn from(record: AttemptRecord) -> Self {
        let AttemptRecord { started, ended, failure } = record;
        Self { started, ended, failure: failure.map(Reason::from) }
    }
}

fn bounded(reason: Reason) -> Pair {
    Pair { first: reason.code, second: cut(reason.message) }
}

#[cfg(test)]
mod tests {
    use super::{MAX_HISTORY, Reason, State, StateRecord};
    use crate::records::MAX_WORDS;

    #[test]
    fn of_many_attempts_the_first_and_the_last_are_kept() {
        let mut state = StateRecord::new(State::Pending, None);
        let failed = |code: u64| Reason { code: code.to_string(), message: "\u{e4}".repeat(600) };
        (0..30).for_each(|at| state.attempted(at, at + 1, Some(failed(at))));
        let kept: Vec<_> = state.history.iter().map(|attempt| attempt.started).collect();
        assert_eq!(kept, [0, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
        assert_eq!(kept.len(), MAX_HISTORY);
        assert_eq!(state.reason.as_ref().unwrap().first, "29");
        assert_eq!(state.reason.unwrap().second.len(), MAX_WORDS);
        assert!(state.history.iter().all(|attempt| attempt.failure.is_some()));
    }

    #[test]
    fn an_attempt_does_not_end_before_it_begins() {
        let mut state = StateRecord::new(State::Pending, None);
        state.attempted(9, 4, None);
        assert_eq!((state.history[0].started, state.history[0].ended), (9, 9));
    }
}
