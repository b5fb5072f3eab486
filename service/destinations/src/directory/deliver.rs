//! Carries out actions of a source: many at a time, with one read and one write.

use bytes::Bytes;
use segment_source_core::{
    directory::{Change, Damaged, Effect, Refusal, Stamp, changes},
    mapping::ActionType,
    source::SourceId,
};
use segment_source_store::{Leased, Store};

use super::{
    end::end_dependants,
    write::{Fault, Step, Told, write},
};
use crate::delivery::Outcome;

/// Entries that are read and written at once; one action may have more and is done in parts.
const AT_ONCE: usize = 1_024;

/// Carries out actions of one source, in this order; an outcome for each. Doing one again changes
/// nothing, so that after a failure all of it can be done again.
pub(crate) async fn deliver_all(
    store: &Store,
    source: &SourceId,
    leases: &[Leased],
) -> Vec<Outcome> {
    let mut works: Vec<Work> = leases.iter().map(Work::new).collect();
    let (mut steps, mut entries) = (Vec::new(), 0);
    let read: Vec<_> = works.iter_mut().map(|work| std::mem::take(&mut work.changes)).collect();
    for (work, changes) in read.iter().enumerate() {
        let stamp = works[work].stamp;
        for change in changes {
            if entries >= AT_ONCE {
                do_steps(store, source, std::mem::take(&mut steps), &mut works).await;
                entries = 0;
            }
            let step = Step { work, stamp, change };
            entries += step.entries();
            steps.push(step);
        }
    }
    do_steps(store, source, steps, &mut works).await;
    works.into_iter().map(Work::outcome).collect()
}

/// One action.
struct Work {
    stamp: Stamp,
    changes: Vec<Change>,
    report: Report,
    refused: Option<Refusal>,
    fault: Option<Fault>,
}

impl Work {
    fn new(leased: &Leased) -> Self {
        let stamp = Stamp::of(&leased.record.event_timestamp, leased.action);
        let changes = read(leased);
        let (changes, refused) = match changes {
            Ok(changes) => (changes, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        };
        Self { stamp, changes, report: Report::default(), refused, fault: None }
    }

    fn outcome(self) -> Outcome {
        match (self.fault, self.refused) {
            (Some(fault), _) => {
                Outcome::Retry { code: fault.code(), message: fault.to_string(), after: None }
            }
            (None, Some(Refusal { code, message })) => Outcome::Dead { code, message },
            (None, None) => Outcome::Done { answer: self.report.words() },
        }
    }
}

fn read(leased: &Leased) -> Result<Vec<Change>, Refusal> {
    let action: ActionType = leased.record.action_type.parse().map_err(|error| Refusal {
        code: "not_for_directory",
        message: format!("{error}; a newer version may know it"),
    })?;
    changes(action, leased.record.payload.as_ref().map_or(&[][..], Bytes::as_ref))
}

/// Writes the steps and ends what their deletions end.
async fn do_steps(store: &Store, source: &SourceId, steps: Vec<Step<'_>>, works: &mut [Work]) {
    // An action that failed is done again as a whole.
    let steps: Vec<_> = steps.into_iter().filter(|it| works[it.work].fault.is_none()).collect();
    if steps.is_empty() {
        return;
    }
    match write(store, source, &steps).await {
        Ok(told) => {
            for (step, told) in steps.iter().zip(told) {
                let work = &mut works[step.work];
                match told {
                    Told::Applied(effect) => work.report.add(step, effect),
                    // The first one says enough.
                    Told::Refused(refusal) => {
                        work.refused.get_or_insert(refusal);
                    }
                    Told::Damaged => work.fault = Some(Fault::Damaged(Damaged)),
                }
            }
        }
        Err(fault) => {
            for step in &steps {
                works[step.work].fault = Some(fault.clone());
            }
            return;
        }
    }
    for step in &steps {
        if step.deletes() && works[step.work].fault.is_none() {
            match end_dependants(store, source, &step.change.key, step.stamp).await {
                Ok(ended) => works[step.work].report.ended += ended,
                Err(fault) => works[step.work].fault = Some(fault),
            }
        }
    }
}

/// What is said of an action that was carried out, where there is something to say.
#[derive(Default)]
struct Report {
    values: usize,
    outdated: usize,
    entries: usize,
    /// Entries that something newer has deleted.
    deleted_later: usize,
    /// Entries to be deleted of which something newer is known.
    kept: usize,
    /// Subscriptions and memberships that ended with an entry.
    ended: usize,
}

impl Report {
    fn add(&mut self, step: &Step<'_>, effect: Effect) {
        self.entries += 1;
        match (effect.overruled, step.deletes()) {
            (false, _) => {
                self.values += effect.values;
                self.outdated += effect.outdated;
            }
            (true, true) => self.kept += 1,
            (true, false) => self.deleted_later += 1,
        }
    }

    fn words(&self) -> String {
        let Self { values, outdated, entries, deleted_later, kept, ended } = self;
        let mut parts = Vec::new();
        if *outdated > 0 {
            parts.push(format!("{outdated} of {values} values are older than what is known"));
        }
        if *deleted_later > 0 {
            parts.push(format!(
                "{deleted_later} of {entries} entries were deleted by a newer event"
            ));
        }
        if *kept > 0 {
            parts
                .push(format!("{kept} of {entries} entries are known from a newer event and stay"));
        }
        if *ended > 0 {
            parts.push(format!("{ended} subscriptions and memberships ended with it"));
        }
        parts.join("; ")
    }
}
