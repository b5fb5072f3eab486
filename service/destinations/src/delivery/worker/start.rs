//! From leases to attempts under way.

use std::{future::Future, pin::pin, time::Duration};

use segment_source_core::event::ActionId;
use segment_source_store::{Leased, Settlement};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{LEASE, Shared, Worker};
use crate::{
    delivery::attempt::{self, Ended, Job, Ticket},
    directory,
};

impl Worker {
    /// Starts attempts, each on a task of its own, of those whose turn it is.
    pub(super) fn start(&mut self, leases: Vec<Leased>, probe: bool) {
        let (open, mut batch) = (self.open, Vec::new());
        for leased in leases {
            let ticket = Ticket {
                token: leased.token,
                action: leased.action,
                attempt: leased.attempt,
                first_attempt: leased.first_attempt,
                probe,
                edition: self.edition,
            };
            let job = match attempt::job(&self.destination.kind, leased) {
                Ok(job) => job,
                Err(outcome) => {
                    self.spawn(vec![ticket], async move { vec![Ended { ticket, outcome }] });
                    continue;
                }
            };
            if let Some(delay) = self.wait(ticket.action, &job) {
                self.shared.metrics.deferred(self.destination.kind.name());
                self.settling.push(ticket.token, Settlement::Defer { delay });
                continue;
            }
            match job {
                Job::Store(leased) => batch.push((ticket, leased)),
                job => self.attempt(ticket, job),
            }
        }
        if !batch.is_empty() {
            self.store(batch);
        }
        if probe && self.open > open {
            self.breaker.probing();
        }
    }

    /// How long an action has to wait for its turn.
    fn wait(&mut self, action: ActionId, job: &Job) -> Option<Duration> {
        let calls = attempt::counted(&self.destination.kind, job)?;
        self.turns.wait(&self.shared.pacer, action, calls, Instant::now())
    }

    fn attempt(&mut self, ticket: Ticket, job: Job) {
        let (shared, destination) = (self.shared.clone(), self.destination.clone());
        let source = self.id.source.clone();
        self.spawn(vec![ticket], async move {
            let began = Instant::now();
            let outcome = attempt::attempt(&shared, &source, &destination, job).await;
            shared.metrics.attempted(destination.kind.name(), &outcome, began.elapsed());
            vec![Ended { ticket, outcome }]
        });
    }

    /// All of a take at once.
    fn store(&mut self, batch: Vec<(Ticket, Leased)>) {
        let (shared, kind) = (self.shared.clone(), self.destination.kind.name());
        let source = self.id.source.clone();
        let (tickets, leases): (Vec<Ticket>, Vec<_>) = batch.into_iter().unzip();
        self.spawn(tickets.clone(), async move {
            let began = Instant::now();
            let mut delivering = pin!(directory::deliver_all(&shared.store, &source, &leases));
            let outcomes = loop {
                match timeout(LEASE / 3, &mut delivering).await {
                    Ok(outcomes) => break outcomes,
                    // Much may go with an object, and nobody else is to begin the same.
                    Err(_) => extend(&shared, &tickets).await,
                }
            };
            let took = began.elapsed();
            let ended = tickets.into_iter().zip(outcomes);
            let ended = ended.map(|(ticket, outcome)| {
                shared.metrics.attempted(kind, &outcome, took);
                Ended { ticket, outcome }
            });
            ended.collect()
        });
    }

    fn spawn(
        &mut self,
        about: Vec<Ticket>,
        task: impl Future<Output = Vec<Ended>> + Send + 'static,
    ) {
        self.open += about.len();
        self.under_way.insert(self.running.spawn(task).id(), about);
    }
}

async fn extend(shared: &Shared, tickets: &[Ticket]) {
    let extend = |ticket: &Ticket| (ticket.token, Settlement::Extend(LEASE));
    if let Err(error) = shared.store.settle(tickets.iter().map(extend).collect()).await {
        warn!(%error, "leases of a directory cannot be extended");
    }
}
