//! From attempts that have ended to what becomes of their actions, and of the destination.

use std::time::Duration;

use segment_source_store::{Ending, Hold, Reason, Settlement};
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};
use tracing::{error, info, warn};

use super::Worker;
use crate::delivery::{
    Outcome,
    attempt::{Ended, Ticket},
    breaker::Sign,
    code,
    hold::{self, Refusal},
    policy::{self, Next, lot},
};

impl Worker {
    /// Attempts have ended: decides what becomes of their actions.
    pub(super) async fn ended(&mut self, ended: Result<(Id, Vec<Ended>), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let about = self.under_way.remove(&id).unwrap_or_default();
        self.open -= about.len();
        let ended = ended.map(|(_, ended)| ended).unwrap_or_else(|error| {
            error!(destination = %self.id, %error, "an attempt ended badly");
            let retry = |ticket| {
                let message = "the attempt ended badly; see the log".to_owned();
                let outcome = Outcome::Retry { code: code::INTERNAL, message, after: None };
                Ended { ticket, outcome }
            };
            about.into_iter().map(retry).collect()
        });
        for Ended { ticket, outcome } in ended {
            let sign = Sign::of(&outcome, ticket.attempt, ticket.probe);
            self.breaker.record(sign, ticket.probe, Instant::now(), lot());
            let settlement = self.settlement(ticket, outcome).await;
            self.settling.push(ticket.token, settlement);
            if ticket.probe && sign == Sign::Alive {
                self.release().await;
            } else if ticket.probe && sign == Sign::Down {
                self.refusal.again(Instant::now());
            }
        }
    }

    async fn settlement(&mut self, ticket: Ticket, outcome: Outcome) -> Settlement {
        match outcome {
            Outcome::Done { answer } => Settlement::Ack { answer },
            Outcome::Dead { code, message } => Settlement::Reject { reason: reason(code, message) },
            Outcome::Refused { message, .. } => {
                // That another credential was refused says nothing of this one.
                if ticket.edition == self.edition {
                    self.refused(ticket.probe, message).await;
                }
                Settlement::Defer { delay: Duration::ZERO }
            }
            Outcome::Retry { code, message, after } => {
                let now = (self.shared.clock)();
                let first = ticket.first_attempt.unwrap_or(now);
                let age = hold::age(&self.ledger, first, now);
                let max_age = self.destination.delivery.max_age;
                match policy::next(ticket.attempt, after, age, max_age, lot()) {
                    Next::Again(delay) => {
                        Settlement::Retry { delay, reason: reason(code, message) }
                    }
                    Next::Over => {
                        let message = format!(
                            "not delivered within {} s of its first attempt; the last one: {message}",
                            max_age.as_secs()
                        );
                        Settlement::Reject { reason: reason(code::MAX_AGE, message) }
                    }
                }
            }
        }
    }

    /// The destination refuses the credential: nothing is sent until it takes it.
    async fn refused(&mut self, probe: bool, message: String) {
        if probe && self.ledger.hold.is_some() {
            self.refusal.again(Instant::now());
            return;
        }
        if self.ledger.hold.is_some() {
            return;
        }
        error!(
            destination = %self.id,
            why = message,
            "the destination refuses the credential and is held; put another one into its Secret, \
             or release it once it takes this one"
        );
        let since = (self.shared.clock)();
        let hold = Hold { since, until: None, refused: true, reason: message };
        if let Err(error) = self.shared.store.hold(&self.id, hold.clone()).await {
            warn!(destination = %self.id, %error, "cannot write that the destination is held");
        }
        self.refusal = Refusal::first(Instant::now());
        self.ledger.hold = Some(hold);
    }

    /// The destination has taken the credential.
    async fn release(&mut self) {
        if !self.ledger.hold.as_ref().is_some_and(|hold| hold.refused) {
            return;
        }
        match self.shared.store.end_hold(&self.id, Ending::Refused).await {
            Ok(_) => {
                info!(destination = %self.id, "the destination takes the credential again");
                self.ledger.hold = None;
            }
            Err(error) => {
                warn!(destination = %self.id, %error, "cannot write that the hold has ended");
            }
        }
    }
}

fn reason(code: &str, message: String) -> Reason {
    Reason { code: code.to_owned(), message }
}
