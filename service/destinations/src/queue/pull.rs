//! `Pull`: take what is ready, or wait a while for it. Also the waiting that `Consume` shares.

use std::{sync::Arc, time::Duration};

use segment_source_core::source::DestinationId;
use segment_source_proto::queue::v1::{Delivery, PullRequest, PullResponse};
use segment_source_rpc::{Caller, Permit};
use segment_source_store::{Millis, StoreError, Taken};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tonic::Status;

use crate::{
    Destinations,
    directory::{Message, expand},
};

use super::{
    MAX_ACTIONS, QueueService, check_consumer, delivery::delivery, duration, lease, problem,
};

const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Nothing is waited for longer than this without looking again, so that a clock that was set back
/// delays a due action by at most this much.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn pull(
    service: &QueueService,
    caller: &Caller,
    request: PullRequest,
) -> Result<PullResponse, Status> {
    let (queue, permit) = service.resolve(caller, request.queue)?;
    let lease = lease(request.lease)?;
    check_consumer(&request.consumer)?;
    let max = usize::try_from(request.max_actions.max(1)).unwrap_or(usize::MAX);
    if max > MAX_ACTIONS {
        return Err(problem::invalid("max_actions", "must be 0 to 1,000"));
    }
    let wait = match request.wait {
        None => Duration::ZERO,
        Some(wait) => duration(wait, Duration::ZERO..=LONGEST_WAIT)
            .map_err(|message| problem::invalid("wait", message))?,
    };
    let deadline = Instant::now() + wait;
    let mut source = Take::new(service.clone(), permit, queue, lease);
    loop {
        let (taken, wake) = source.take(max).await?;
        if !taken.leases.is_empty() || Instant::now() >= deadline {
            let tokens: Vec<_> = taken.leases.iter().map(|leased| leased.token).collect();
            let leases = taken.leases.into_iter();
            let mut deliveries: Vec<_> =
                leases.map(|leased| delivery(leased, &service.metrics)).collect();
            if request.expand_recipients
                && let Err(status) = source.expand(&mut deliveries, Message::All).await
            {
                // Nobody will hear of them.
                service.store.release(tokens);
                return Err(status);
            }
            return Ok(PullResponse { deliveries });
        }
        tokio::select! {
            woken = source.wait(wake) => woken?,
            () = sleep_until(deadline) => {}
        }
    }
}

/// Takes from one queue, and knows when it is worth trying again.
pub(super) struct Take {
    service: QueueService,
    permit: Permit,
    queue: DestinationId,
    lease: Duration,
    configuration: watch::Receiver<Arc<Destinations>>,
}

/// What ends the wait after a take that found too little.
pub(super) struct Wake {
    ready: tokio::sync::futures::OwnedNotified,
    due: Instant,
}

impl Take {
    pub(super) fn new(
        service: QueueService,
        permit: Permit,
        queue: DestinationId,
        lease: Duration,
    ) -> Self {
        let configuration = service.destinations.clone();
        Self { service, permit, queue, lease, configuration }
    }

    /// Adds to deliveries of this queue what is known of their recipients.
    pub(super) async fn expand(
        &self,
        deliveries: &mut [Delivery],
        message: Message,
    ) -> Result<(), Status> {
        expand(&self.service.store, &self.queue.source, deliveries, message).await
    }

    /// Permission to take, which may end while others wait.
    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// As [`Take::take`] for who stays: while the store has no room to settle what it would give
    /// out there is nothing, and room is looked for again and again.
    pub(super) async fn take_patiently(&mut self, max: usize) -> Result<(Taken, Wake), Status> {
        let (taken, wake) = self.look(max).await?;
        match taken {
            Err(StoreError::Full { .. }) => Ok((Taken::default(), wake)),
            taken => Ok((taken.map_err(|error| problem::store(&error))?, wake)),
        }
    }

    /// Takes up to `max` actions. The wake-up is armed before looking, so nothing that becomes
    /// ready in between is missed.
    pub(super) async fn take(&mut self, max: usize) -> Result<(Taken, Wake), Status> {
        let (taken, wake) = self.look(max).await?;
        Ok((taken.map_err(|error| problem::store(&error))?, wake))
    }

    /// What the store says, and when to ask it again.
    async fn look(&mut self, max: usize) -> Result<(Result<Taken, StoreError>, Wake), Status> {
        self.permit.check()?;
        self.configuration.mark_unchanged();
        let ready = self.service.store.ready(&self.queue);
        let taken = match self.service.state(&self.queue) {
            None => return Err(problem::queue_gone(&self.queue)),
            Some(state) if state.suspended => Ok(Taken::default()),
            Some(_) => {
                let store = &self.service.store;
                let ledger = store.hold_ledger(&self.queue).await;
                let ledger = ledger.map_err(|error| problem::store(&error))?;
                match ledger.hold.filter(|hold| !hold.is_over(store.now())) {
                    Some(hold) => Ok(Taken { leases: Vec::new(), next_due: hold.until }),
                    None => store.take(&self.queue, max, self.lease).await,
                }
            }
        };
        let wait = |due: Millis| {
            Duration::from_millis(due.saturating_sub(self.service.store.now())).min(LOOK_AGAIN)
        };
        let due = taken.as_ref().ok().and_then(|taken| taken.next_due).map_or(LOOK_AGAIN, wait);
        Ok((taken, Wake { ready, due: Instant::now() + due }))
    }

    /// Resolves with the error of a process that shuts down or a caller that may not take any more,
    /// and not before.
    pub(super) async fn over(&mut self) -> Result<(), Status> {
        tokio::select! {
            () = self.service.shutdown.cancelled() => Err(problem::draining()),
            status = self.permit.revoked() => Err(status),
        }
    }

    /// Waits until taking again may find something.
    ///
    /// # Errors
    /// When the process is shutting down, or the caller may not take any more.
    pub(super) async fn wait(&mut self, wake: Wake) -> Result<(), Status> {
        tokio::select! {
            () = wake.ready => Ok(()),
            () = sleep_until(wake.due) => Ok(()),
            // An error means that the configuration's owner is gone: the process is ending.
            changed = self.configuration.changed() => changed.map_err(|_| problem::draining()),
            () = self.service.shutdown.cancelled() => Err(problem::draining()),
            status = self.permit.revoked() => Err(status),
        }
    }
}
