//! From a batch on the wire to events for the store: checks, then description. Pure.

use std::sync::Arc;

use segment_source_core::{
    event::{Event, Verdict, Verification},
    source::SourceId,
};
use segment_source_proto::{event::v1 as wire, ingest::v1::Submission};
use segment_source_store::{NewEvent, Receipt};

use super::answer::Place;
use crate::{Source, Sources};

/// So many submissions may come in one batch.
pub(super) const MAX_SUBMISSIONS: usize = 256;

/// A batch that keeps the rules, ready for the store.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the order of the submissions, without those of unknown sources.
    pub(super) events: Vec<NewEvent>,
    /// One for each submission.
    pub(super) places: Vec<Place>,
}

/// A batch that keeps the rules, not yet described.
#[derive(Debug)]
pub(super) struct Checked(Vec<CheckedSubmission>);

#[derive(Debug)]
struct CheckedSubmission {
    source: SourceId,
    /// `None`: not configured here.
    configuration: Option<Arc<Source>>,
    receipt: Receipt,
    verification: Verification,
    submission: Submission,
}

impl Checked {
    /// Holds a batch against the rules of the protocol and looks its sources up, each once.
    ///
    /// # Errors
    /// Says which submission breaks which rule.
    pub(super) fn new(submissions: Vec<Submission>, sources: &Sources) -> Result<Self, String> {
        if submissions.len() > MAX_SUBMISSIONS {
            let count = submissions.len();
            return Err(format!("{count} submissions, {MAX_SUBMISSIONS} may come in one batch"));
        }
        let mut known: Vec<(SourceId, Option<Arc<Source>>)> = Vec::new();
        let mut checked = Vec::with_capacity(submissions.len());
        for (index, submission) in submissions.into_iter().enumerate() {
            let broken = |rule: String| format!("submissions[{index}]: {rule}");
            // The newest first: batches are mostly of one source.
            let found = known.iter().rev().find(|(id, _)| is(id, &submission)).cloned();
            let (source, configuration) = match found {
                Some(found) => found,
                None => {
                    let id = SourceId::new(&submission.namespace, &submission.name)
                        .map_err(|error| broken(error.to_string()))?;
                    let source = sources.sources.get(&id).cloned();
                    known.push((id.clone(), source.clone()));
                    (id, source)
                }
            };
            let receipt = Receipt(submission.receipt.as_ref().try_into().map_err(|_| {
                broken(format!("a receipt has 16 bytes, not {}", submission.receipt.len()))
            })?);
            let verification = verification(&submission).map_err(broken)?;
            checked.push(CheckedSubmission {
                source,
                configuration,
                receipt,
                verification,
                submission,
            });
        }
        Ok(Self(checked))
    }

    /// Bytes of all bodies, which is what describing takes its time from.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|checked| checked.submission.body.len()).sum()
    }

    /// Reads and describes each event. Takes in the order of 10 µs per KiB, more with `preprocess`.
    pub(super) fn describe(self) -> Batch {
        let mut batch = Batch {
            events: Vec::with_capacity(self.0.len()),
            places: Vec::with_capacity(self.0.len()),
        };
        for checked in self.0 {
            let Some(source) = checked.configuration.clone() else {
                batch.places.push(Place::UnknownSource);
                continue;
            };
            let event = checked.describe(&source);
            batch.places.push(Place::Stored { unmappable: event.event.unmappable.is_some() });
            batch.events.push(event);
        }
        batch
    }
}

impl CheckedSubmission {
    fn describe(self, source: &Source) -> NewEvent {
        let headers: Vec<(String, String)> =
            self.submission.headers.into_iter().map(|h| (h.name, h.value)).collect();
        let described = source.describer.describe_briefly(&self.submission.body, &headers);
        NewEvent {
            source: self.source,
            receipt: self.receipt,
            window: described.key.as_ref().and(source.window),
            event: Event {
                event_type: described.event_type,
                key: described.key,
                order_key: described.order_key,
                timestamp: described.timestamp,
                unmappable: described.unmappable,
                verification: self.verification,
                element: self.submission.element,
                headers,
                body: described.body,
            },
        }
    }
}

fn is(id: &SourceId, submission: &Submission) -> bool {
    id.namespace() == submission.namespace && id.name() == submission.name
}

/// The edge's claim is believed as long as it does not contradict itself.
fn verification(submission: &Submission) -> Result<Verification, String> {
    let verdict = match submission.verdict() {
        wire::Verdict::VerifiedBody => Verdict::VerifiedBody,
        wire::Verdict::VerifiedFirstElement => Verdict::VerifiedFirstElement,
        wire::Verdict::ObservedMissing => Verdict::ObservedMissing,
        wire::Verdict::ObservedMismatch => Verdict::ObservedMismatch,
        wire::Verdict::ObservedNoSecret => Verdict::ObservedNoSecret,
        wire::Verdict::Unspecified => {
            return Err(format!("verdict {} is unknown here", submission.verdict));
        }
    };
    let element = usize::try_from(submission.element).unwrap_or(usize::MAX);
    let verification = verdict.of_element(element);
    if verification.covered == submission.covered {
        Ok(verification)
    } else {
        let (claimed, element) = (submission.covered, submission.element);
        Err(format!("covered is {claimed}, which {verdict:?} of element {element} rules out"))
    }
}
