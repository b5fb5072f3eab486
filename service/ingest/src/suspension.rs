//! Time stands still for what waits while delivery is suspended: a suspension is noted with each
//! destination as a hold, which whoever counts time leaves out. That nothing is delivered meanwhile
//! is not this hold's doing.

use segment_source_store::{Hold, StoreError, embedded::Store};

use crate::Source;

/// By it such a hold is told from others.
const REASON: &str = "suspend: Delivery";

/// Notes that a source is suspended, until it is over, unless there is another hold.
pub(crate) async fn note(store: &Store, source: &Source) -> Result<(), StoreError> {
    for destination in &source.destinations {
        let (id, now) = (source.id_of(destination), store.now());
        let held = store.hold_ledger(&id)?.hold;
        // One by hand may end while the source is still suspended; then this is looked at again.
        if held.is_none_or(|hold| hold.is_over(now)) {
            let reason = REASON.to_owned();
            let hold = Hold { since: now, until: None, refused: false, reason };
            store.hold(&id, hold).await?;
        }
    }
    Ok(())
}

/// Ends what was noted.
pub(crate) async fn end(store: &Store, source: &Source) -> Result<(), StoreError> {
    let noted = |hold: Hold| hold.reason == REASON && !hold.refused;
    for destination in &source.destinations {
        let id = source.id_of(destination);
        if store.hold_ledger(&id)?.hold.is_some_and(noted) {
            store.end_hold(&id, false).await?;
        }
    }
    Ok(())
}
