//! The term of a leader, shared by all who need to know whether there is one: right now, and for
//! how long.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

/// A time in which nobody else leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    /// Counts the terms of this process. A term that lapsed is followed by another one, be it of
    /// the same epoch: what was not written in between has to be.
    number: u64,
    epoch: u64,
    until: Instant,
}

/// Whether this process leads. Every clone sees the same.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    term: watch::Receiver<Option<Term>>,
}

/// Begins and ends terms. There is one.
#[derive(Debug)]
pub(crate) struct Office {
    term: watch::Sender<Option<Term>>,
    /// How many there were.
    terms: AtomicU64,
}

impl Office {
    pub(crate) fn new() -> (Self, Leadership) {
        let (sender, term) = watch::channel(None);
        (Self { term: sender, terms: AtomicU64::new(0) }, Leadership { term })
    }

    /// Begins a term, or makes it longer.
    pub(crate) fn hold(&self, epoch: u64, until: Instant) {
        self.term.send_if_modified(|term| {
            let now = Instant::now();
            let goes_on = term.filter(|term| term.epoch == epoch && now < term.until);
            let number = match goes_on {
                Some(term) => term.number,
                None => self.terms.fetch_add(1, Ordering::Relaxed) + 1,
            };
            *term = Some(Term { number, epoch, until });
            if goes_on.is_none() {
                info!(epoch, "leading");
            }
            goes_on.is_none()
        });
    }

    /// Ends it.
    pub(crate) fn leave(&self, why: &str) {
        self.term.send_if_modified(|term| {
            let left = term.take();
            if let Some(term) = left {
                warn!(epoch = term.epoch, "not leading any more: {why}");
            }
            left.is_some()
        });
    }

    /// Whether there is a term, be it over or not.
    pub(crate) fn is_held(&self) -> bool {
        self.term.borrow().is_some()
    }

    /// Waits until the term is over; for ever without one.
    pub(crate) async fn expired(&self) {
        loop {
            let Some(term) = *self.term.borrow() else { return std::future::pending().await };
            if Instant::now() >= term.until {
                return;
            }
            sleep_until(term.until).await;
        }
    }
}

impl Leadership {
    /// The epoch in which this process leads at this moment. To be asked before everything that
    /// only a leader may do, as late as possible.
    pub(crate) fn epoch(&self) -> Option<u64> {
        let term = *self.term.borrow();
        term.filter(|term| Instant::now() < term.until).map(|term| term.epoch)
    }

    /// Whether this process leads at this moment.
    pub(crate) fn leads(&self) -> bool {
        self.epoch().is_some()
    }

    /// Waits until this epoch is over.
    pub(crate) async fn over(&self, epoch: u64) {
        let mut receiver = self.term.clone();
        loop {
            let term = *receiver.borrow_and_update();
            let Some(term) = term.filter(|term| term.epoch == epoch) else { return };
            if Instant::now() >= term.until {
                return;
            }
            tokio::select! {
                () = sleep_until(term.until) => {}
                changed = receiver.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Waits until another term begins than the one with this number; gives the number of that.
    pub(crate) async fn begun(&self, after: Option<u64>) -> u64 {
        let mut receiver = self.term.clone();
        let begins = |term: &Option<Term>| term.is_some_and(|it| Some(it.number) != after);
        let begun = receiver.wait_for(begins).await.ok().and_then(|term| *term);
        match begun {
            Some(term) => term.number,
            // Nobody begins terms any more.
            None => std::future::pending().await,
        }
    }
}
