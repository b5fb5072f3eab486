//! Whether somebody else writes the statuses that this process writes, such as a second release that
//! watches the same namespace. Without patience the two would answer one another for ever, as fast
//! as the API server lets them. Pure but for a lock; writing is `report`'s.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Mutex,
    time::Duration,
};

use kube::core::ObjectMeta;
use segment_source_crds::SegmentSourceStatus;
use tokio::time::Instant;

use crate::{lock::lock, name::Name, pauses::Pauses};

/// The pause after the first dispute, which is twice as long after each, and the longest.
const PAUSES: Pauses = (Duration::from_secs(1), Duration::from_secs(300));
/// A status that nobody disputed for so long is like one that nobody ever did.
const PEACE: Duration = Duration::from_secs(900);
/// Somebody may try their hand at a status once; so often is no accident.
const NO_ACCIDENT: u32 = 2;

/// What this process has written last, of every source.
#[derive(Debug, Default)]
pub(crate) struct Disputes {
    written: Mutex<HashMap<Name, Written>>,
}

#[derive(Debug)]
struct Written {
    uid: Option<String>,
    /// The resourceVersion that it was written about; whoever still sees that is only late.
    about: Option<String>,
    /// Of the status, as the API server has it.
    hash: u64,
    at: Instant,
    /// How often in a row somebody had written another one when this process wrote.
    disputes: u32,
}

/// Whether a status may be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody else writes it.
    Free,
    /// Somebody changed what this process wrote.
    Disputed,
    /// They do that all the time: not before so long.
    Wait(Duration),
}

impl Disputes {
    /// Asks before a status is written over `before`, which an object with this metadata has.
    pub(crate) fn turn(
        &self,
        name: &Name,
        metadata: &ObjectMeta,
        before: Option<&SegmentSourceStatus>,
    ) -> Turn {
        let written = lock(&self.written);
        let Some(written) = written.get(name).filter(|it| it.uid == metadata.uid) else {
            return Turn::Free;
        };
        if written.about == metadata.resource_version || written.hash == hash(before) {
            return Turn::Free;
        }
        match written.pause().checked_sub(written.at.elapsed()) {
            Some(rest) if !rest.is_zero() => Turn::Wait(rest),
            _ => Turn::Disputed,
        }
    }

    /// It was written, and is stored like this. Whether it is time to tell somebody.
    pub(crate) fn wrote(
        &self,
        name: &Name,
        metadata: &ObjectMeta,
        stored: Option<&SegmentSourceStatus>,
        turn: Turn,
    ) -> bool {
        let mut all = lock(&self.written);
        let before = all.get(name).filter(|it| it.uid == metadata.uid && it.at.elapsed() < PEACE);
        let before = before.map_or(0, |it| it.disputes);
        let disputes = before.saturating_add(u32::from(turn == Turn::Disputed));
        let written = Written {
            uid: metadata.uid.clone(),
            about: metadata.resource_version.clone(),
            hash: hash(stored),
            at: Instant::now(),
            disputes,
        };
        all.insert(name.clone(), written);
        before < NO_ACCIDENT && disputes == NO_ACCIDENT
    }

    /// It is gone.
    pub(crate) fn forget(&self, name: &Name) {
        lock(&self.written).remove(name);
    }
}

impl Written {
    /// How long another one's status stays.
    fn pause(&self) -> Duration {
        let (shortest, longest) = PAUSES;
        match self.disputes {
            0 => Duration::ZERO,
            times => shortest.saturating_mul(1 << (times - 1).min(16)).min(longest),
        }
    }
}

/// A status is kept as its hash: there are thousands.
fn hash(status: Option<&SegmentSourceStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    // What cannot be said is like nothing.
    serde_json::to_string(&status).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;
    use segment_source_crds::SegmentSourceStatus;
    use tokio::time::{Instant, advance};

    use super::{Disputes, Duration, Turn};
    use crate::name::Name;

    fn status(url: &str) -> SegmentSourceStatus {
        SegmentSourceStatus { url: Some(url.to_owned()), ..SegmentSourceStatus::default() }
    }

    fn object(version: u32) -> ObjectMeta {
        let (uid, resource_version) = (Some("u".to_owned()), Some(version.to_string()));
        ObjectMeta { uid, resource_version, ..ObjectMeta::default() }
    }

    fn web() -> Name {
        Name::new("prod", "web")
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_write_one_status_do_so_less_and_less() {
        let (ours, theirs) = (status("ours"), status("theirs"));
        let disputes = Disputes::default();
        let (begun, mut version, mut writes, mut told) = (Instant::now(), 1, Vec::new(), 0);
        while begun.elapsed() < Duration::from_secs(3600) {
            // Theirs is there whenever we look.
            match disputes.turn(&web(), &object(version), Some(&theirs)) {
                Turn::Wait(rest) => advance(rest).await,
                turn => {
                    told += i32::from(disputes.wrote(&web(), &object(version), Some(&ours), turn));
                    writes.push(begun.elapsed().as_secs());
                    version += 2;
                }
            }
        }
        assert_eq!(writes[..7], [0, 0, 1, 3, 7, 15, 31]);
        assert!((18..=24).contains(&writes.len()), "{writes:?}");
        assert_eq!(told, 1);
        // After a long peace it is put right at once.
        advance(Duration::from_secs(900)).await;
        let turn = disputes.turn(&web(), &object(version), Some(&theirs));
        assert_eq!(turn, Turn::Disputed);
        disputes.wrote(&web(), &object(version), Some(&ours), turn);
        advance(Duration::from_secs(1)).await;
        let turn = disputes.turn(&web(), &object(version + 2), Some(&theirs));
        assert_eq!(turn, Turn::Disputed);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_else_writes_never_waits() {
        let disputes = Disputes::default();
        let turn = |version, before: &SegmentSourceStatus| {
            disputes.turn(&web(), &object(version), Some(before))
        };
        assert_eq!(turn(1, &status("a")), Turn::Free);
        disputes.wrote(&web(), &object(1), Some(&status("b")), Turn::Free);
        // What was written has not come back yet; then it has; then the spec was changed.
        assert_eq!(turn(1, &status("a")), Turn::Free);
        assert_eq!((turn(2, &status("b")), turn(3, &status("b"))), (Turn::Free, Turn::Free));
        // Somebody's hand is put right at once.
        assert_eq!(turn(4, &status("x")), Turn::Disputed);
        // Another object by the same name, or none.
        let other = ObjectMeta { uid: Some("v".to_owned()), ..object(4) };
        assert_eq!(disputes.turn(&web(), &other, Some(&status("x"))), Turn::Free);
        disputes.forget(&web());
        assert_eq!(turn(4, &status("x")), Turn::Free);
    }
}
