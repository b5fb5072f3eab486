//! Time stands still for what waits while delivery is suspended: a suspension is noted with each
//! destination as a hold, which whoever counts time leaves out. That nothing is delivered meanwhile
//! is not this hold's doing.

use segment_source_store::{Hold, StoreError, embedded::Store};

use crate::Source;

/// By it such a hold is told from others.
const REASON: &str = "suspend: Delivery";

/// Notes that a source is suspended, until it is over, unless there is another hold.
pub(crate) async fn goes_on(store: &Store, source: &Source) -> Result<(), StoreError> {
    for (_, queue) in source.queues() {
        let now = store.now();
        let held = store.hold_ledger(&queue)?.hold;
        // One by hand may end while the source is still suspended; then this is looked at again.
        if held.is_none_or(|hold| hold.until.is_some_and(|until| until <= now)) {
            let reason = REASON.to_owned();
            let hold = Hold { since: now, until: None, refused: false, reason };
            store.hold(&queue, hold).await?;
        }
    }
    Ok(())
}

/// Ends what was noted.
pub(crate) async fn is_over(store: &Store, source: &Source) -> Result<(), StoreError> {
    for (_, queue) in source.queues() {
        if store
            .hold_ledger(&queue)?
            .hold
            .is_some_and(|hold| hold.reason == REASON && !hold.refused)
        {
            store.end_hold(&queue, false).await?;
        }
    }
    Ok(())
}
