//! Reading bodies: limit, time, and one budget for all of them.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{Reply, Settings};

/// One permit of the budget stands for this many bytes.
const UNIT: usize = 1 << 10;
/// Of a body that was refused at most this much is read, so that the sender sees the answer
/// instead of a reset.
const DISCARDED: usize = 64 << 20;

/// Reads bodies within their bounds.
#[derive(Debug)]
pub(crate) struct Bodies {
    budget: Arc<Semaphore>,
    budget_units: usize,
    limit: usize,
    timeout: Duration,
}

/// Bytes that are paid for until the claim is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    pub(crate) bytes: Bytes,
    pub(crate) claim: Claim,
}

/// A part of the budget.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    permit: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(crate) fn new(settings: &Settings) -> Self {
        let budget_units = settings
            .body_budget
            .max(settings.body_limit)
            .div_ceil(UNIT)
            .min(Semaphore::MAX_PERMITS);
        Self {
            budget: Arc::new(Semaphore::new(budget_units)),
            budget_units,
            limit: settings.body_limit,
            timeout: settings.body_timeout,
        }
    }

    /// Bytes of the budget that are in use.
    pub(crate) fn held(&self) -> usize {
        (self.budget_units - self.budget.available_permits()) * UNIT
    }

    /// Whether the body says itself that it is too large.
    pub(crate) fn is_too_large(&self, body: &Body) -> bool {
        body.size_hint().lower() > self.limit as u64
    }

    /// Reads the whole body. Pays for memory as it grows, never for what was merely announced.
    pub(crate) async fn read(&self, body: &mut Body) -> Result<HeldBody, Reply> {
        let deadline = Instant::now() + self.timeout;
        // Sent in chunks, it announces nothing and may be as large as any.
        let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let largest = announced.unwrap_or(self.limit);
        let mut claim = Claim::default();
        let Some(first) = next(body, deadline).await? else {
            return Ok(HeldBody { bytes: Bytes::new(), claim });
        };
        self.check_size(first.len())?;
        claim.grow(&self.budget, first.len())?;
        // The usual case: everything came with one read, nothing is copied.
        if body.is_end_stream() {
            return Ok(HeldBody { bytes: first, claim });
        }
        let mut gathered: Vec<u8> = Vec::new();
        let mut frame = Some(first);
        while let Some(bytes) = frame {
            let length = gathered.len() + bytes.len();
            self.check_size(length)?;
            if length > gathered.capacity() {
                let wanted = (gathered.capacity() * 2).min(largest).max(length);
                claim.grow(&self.budget, wanted)?;
                gathered.reserve_exact(wanted - gathered.len());
            }
            gathered.extend_from_slice(&bytes);
            frame = next(body, deadline).await?;
        }
        Ok(HeldBody { bytes: Bytes::from(gathered), claim })
    }

    fn check_size(&self, length: usize) -> Result<(), Reply> {
        if length > self.limit { Err(Reply::BodyTooLarge) } else { Ok(()) }
    }

    /// Reads what is left of a refused body and forgets it, within bounds.
    pub(crate) async fn discard(&self, body: &mut Body) {
        let deadline = Instant::now() + self.timeout;
        let mut left = DISCARDED;
        while let Ok(Some(bytes)) = next(body, deadline).await
            && bytes.len() <= left
        {
            left -= bytes.len();
        }
    }
}

/// The next bytes of the body; `None` at its end.
async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, Reply> {
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Reply::BodyTooSlow)?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                tracing::debug!(%error, "a request body ended early");
                return Err(Reply::BodyBroken);
            }
            // Trailers say nothing we need.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_trailers) => {}
            },
        }
    }
}

impl Claim {
    /// Makes the claim at least as large as `bytes`.
    fn grow(&mut self, budget: &Arc<Semaphore>, bytes: usize) -> Result<(), Reply> {
        let has = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wants = bytes.div_ceil(UNIT);
        let Some(more) = wants.checked_sub(has).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).map_err(|_| Reply::OverBudget)?;
        let more = Arc::clone(budget)
            .try_acquire_many_owned(more)
            .map_err(|_exhausted| Reply::OverBudget)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;

    use super::{Bodies, UNIT};
    use crate::Settings;

    /// Else each chunk would move all that came before it, and sixteen MiB in small chunks would
    /// take many GiB of copying.
    #[tokio::test]
    async fn a_body_in_chunks_grows_in_few_steps() {
        let bodies = Bodies::new(&Settings::default());
        let chunks = (0..1_000).map(|_| Ok::<_, Infallible>(vec![b'x'; UNIT]));
        let mut body = Body::from_stream(tokio_stream::iter(chunks));
        let held = bodies.read(&mut body).await.unwrap();
        assert_eq!(held.bytes.len(), 1_000 * UNIT);
        assert_eq!(bodies.held(), 1_024 * UNIT, "doubled ten times");
    }
}
